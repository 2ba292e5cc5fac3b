#!/bin/sh
# Installs aerostack-gateway @VERSION@ for this user: one file, no root.
#
#   sh install.sh [--to FOLDER]      # ~/.local/bin
#
# The program is checked against the SHA-256 that stands below. Checking this script itself is up to
# you: SHA256SUMS of the release has its sum. AEROSTACK_DOWNLOADS names another place to fetch from.
set -eu

main() {
  folder=${HOME:?}/.local/bin
  case ${1:-} in
    '') ;;
    --to) folder=${2:?--to needs a folder} ;;
    *) die "unknown option $1; usage: sh install.sh [--to FOLDER]" ;;
  esac

  sum='' target=''
  case $(uname -s)-$(uname -m) in
  @PLATFORMS@)
    ;;
  esac
  [ "$target" ] || die "there is no program for $(uname -s) on $(uname -m)"

  name=aerostack-gateway-@VERSION@-$target
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  fetch "${AEROSTACK_DOWNLOADS:-@DOWNLOADS@}/$name.tar.gz" "$work/archive"

  found=$(sha256 "$work/archive")
  [ "$found" = "$sum" ] ||
    die "$name.tar.gz is not what was released: its SHA-256 is $found, not $sum; nothing was installed"

  tar -xzf "$work/archive" -C "$work"
  mkdir -p "$folder"
  # Renamed into place: a program that runs goes on running.
  cp "$work/$name/aerostack-gateway" "$folder/.aerostack-gateway.$$"
  chmod 755 "$folder/.aerostack-gateway.$$"
  mv "$folder/.aerostack-gateway.$$" "$folder/aerostack-gateway"
  version=$("$folder/aerostack-gateway" --version) || die "$folder/aerostack-gateway does not run here"
  echo "installed $folder/aerostack-gateway ($version)"
  case :$PATH: in
    *":$folder:"*) ;;
    *) echo "$folder is not on your PATH yet" ;;
  esac
}

die() {
  echo "install.sh: $*" >&2
  exit 1
}

fetch() { # fetch URL FILE
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --output "$2" "$1" || die "could not fetch $1"
  elif command -v wget >/dev/null; then
    wget -q -O "$2" "$1" || die "could not fetch $1"
  else
    die "needs curl or wget"
  fi
}

sha256() { # sha256 FILE
  if command -v sha256sum >/dev/null; then
    sha256sum "$1" | cut -d ' ' -f 1
  elif command -v shasum >/dev/null; then
    shasum -a 256 "$1" | cut -d ' ' -f 1
  else
    die "needs sha256sum or shasum"
  fi
}

# Read whole before anything runs: a download that broke off installs nothing.
main "$@"
