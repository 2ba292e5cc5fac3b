# Sourced by scripts/build-static and scripts/build-macos, in the checkout's root: what both of them
# compile with. Sets $tools, $zig and $rustc; everything but Debian's packages lies in target/static.
#
# shellcheck shell=bash disable=SC2034 # the variables are for those that source this
command=${0##*/}
say() { echo "$command: $*"; }
die() { echo "$command: $*" >&2; exit 1; }

tools=$PWD/target/static
mkdir -p "$tools"
command -v cargo >/dev/null || die "needs cargo"

apt_updated=
apt() { # apt PACKAGE...: installs Debian packages, as root only
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    die "needs $* (Debian's names); run as root on Debian, this script installs them"
  say "installing $*"
  [ -n "$apt_updated" ] || apt-get update -qq
  apt_updated=1
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 \
    install -y -qq --no-install-recommends "$@" >/dev/null
}

# Zig, pinned: 0.15 is the last whose musl is the C one with mallocng; later ones put Zig's own
# allocator in its place. Same pin on every machine, so the same libc in every release.
python_tool() { # python_tool PACKAGE VERSION: in target/static/venv
  [ -e "$tools/venv/installed-$1-$2" ] && return
  if [ ! -x "$tools/venv/bin/pip" ]; then
    python3 -c 'import ensurepip' 2>/dev/null || apt python3-venv
    rm -rf "$tools/venv"
    python3 -m venv "$tools/venv"
  fi
  say "installing $1 $2 into target/static"
  "$tools/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$1==$2"
  touch "$tools/venv/installed-$1-$2"
}
python_tool ziglang 0.15.2
zig=$("$tools/venv/bin/python" -c 'import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))')
export ZIG_GLOBAL_CACHE_DIR=$tools/zig-cache ZIG_LOCAL_CACHE_DIR=$tools/zig-cache

has_std() { [ -d "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/$1/lib" ]; } # has_std TARGET

# Debian's compiler, which ships the source of its std.
rustc=/usr/bin/rustc
has_source() { [ -x "$rustc" ] && [ -f "$("$rustc" --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]; }
std_source() { # after it, $rustc and its std source are there
  has_source || apt rustc-web rust-web-src
  has_source || die "$rustc has no std source"
}

# The paths of the machine that built it stay out of the binary.
flags=(--remap-path-prefix="${CARGO_HOME:-$HOME/.cargo}=cargo" --remap-path-prefix="$PWD=.")
std_flag() { echo "--remap-path-prefix=$("$rustc" --print sysroot)/lib/rustlib/src/rust=rust"; }
