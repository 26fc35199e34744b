# Sourced by the benches that send to nginx, behind ops/setup: installs it where that is allowed.
# shellcheck shell=bash

# Not under nginx's own name, which would then be found as a command.
install_nginx() {
  PATH=$PATH:/usr/sbin command -v nginx >/dev/null && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "The bench needs nginx: apt-get install nginx"
    return 1
  fi
  say "Installing nginx…"
  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx >/dev/null
}
