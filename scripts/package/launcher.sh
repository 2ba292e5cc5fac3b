#!/bin/sh
# Becomes this machine's aerostack-gateway: after exec no shell is left between the AI tool and it.
# npm installs the one platform package that fits; it lies in a node_modules of a folder above.
self=$0
while [ -L "$self" ]; do
  link=$(readlink "$self")
  case $link in
    /*) self=$link ;;
    *) self=${self%/*}/$link ;;
  esac
done
# Physical, since some package managers link whole folders.
folder=$(cd -P "${self%/*}/.." && pwd -P) || exit 1

# A 32-bit Node on a 64-bit kernel, or one under Rosetta, installs what fits itself.
system=$(uname -s) machine=$(uname -m)
case $system-$machine in
  Linux-x86_64 | Linux-amd64) names=linux-x64 ;;
  Linux-aarch64 | Linux-arm64) names='linux-arm64 linux-arm' ;;
  Linux-armv7* | Linux-armv8*) names=linux-arm ;;
  Darwin-arm64) names='darwin-arm64 darwin-x64' ;;
  Darwin-x86_64) names=darwin-x64 ;;
  *)
    echo "aerostack-gateway: there is no program for $system on $machine; there is one for Linux" \
      "(x86_64, aarch64, armv7) and macOS (arm64, x86_64)" >&2
    exit 1
    ;;
esac

while :; do
  for name in $names; do
    program=$folder/node_modules/@NAME@-$name/bin/aerostack-gateway
    [ -x "$program" ] && exec "$program" "$@"
  done
  [ "$folder" ] || break
  folder=${folder%/*}
done
echo "aerostack-gateway: its package @NAME@-${names%% *} is not installed; install @NAME@ again," \
  "without --omit=optional or --no-optional" >&2
exit 1
