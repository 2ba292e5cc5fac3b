# For scripts that measure the gateway, sourced in the checkout's root. Sets `program`, the gateway: the one that
# AEROSTACK_GATEWAY_BIN names, else the static binary if there is one, else the release build; and `built`,
# where cargo puts what it builds.
built=${CARGO_TARGET_DIR:-target}
program=${AEROSTACK_GATEWAY_BIN:-target/x86_64-unknown-linux-musl/release/aerostack-gateway}
if [[ ! -x $program ]]; then
  cargo build --locked --quiet --release --bin aerostack-gateway
  program=$built/release/aerostack-gateway
fi
program=$(realpath "$program")
