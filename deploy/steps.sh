# What deploy/quickstart and Tests/run share: saying what is done, and installing what is missing. Sourced by bash.

# A line with the seconds since the script began.
step() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }

fail() {
  printf '[%4d s] failed: %s\n' "$SECONDS" "$*" >&2
  exit 1
}

# Runs a command as root: directly, or through sudo.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    fail "this needs root, and there is no sudo: $*"
  fi
}

# What the build needs: the C libraries and how they are found.
build_packages=(libssh2-1-dev libcurl4-openssl-dev libmongoc-dev libsqlite3-dev libssl-dev zlib1g-dev pkg-config)

# Installs those of the Debian packages that are missing, and nothing when all are there.
install_packages() {
  local name missing=()
  if ! command -v dpkg-query >/dev/null 2>&1; then
    step "not a Debian system: these are expected to be installed already: $*"
    return
  fi
  for name in "$@"; do
    case $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null || true) in
      installed) ;;
      *) missing+=("$name") ;;
    esac
  done
  if [ ${#missing[@]} -eq 0 ]; then
    step "installed already: $*"
    return
  fi
  step "installing Debian packages: ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { apt_get update && apt_install "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install ${missing[*]}"
  fi
  rm -f "$log"
  step "installed ${#missing[@]} packages"
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"; }

# Installs without starting a server that comes along: nothing new listens on this machine because it was tried or tested here.
apt_install() {
  local guard='' name status=0
  for name in "$@"; do
    if [ "$name" = openssh-server ] && [ ! -e /usr/sbin/policy-rc.d ]; then guard=/usr/sbin/policy-rc.d; fi
  done
  if [ -n "$guard" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$guard" >/dev/null
    as_root chmod 755 "$guard"
  fi
  apt_get install -y --no-install-recommends "$@" || status=$?
  if [ -n "$guard" ]; then
    as_root rm -f "$guard"
    # It came only for its program; whoever wants it as a service enables it.
    if [ -d /run/systemd/system ]; then as_root systemctl disable ssh.service || true; fi
  fi
  return "$status"
}

require_swift() {
  command -v swift >/dev/null 2>&1 ||
    fail "there is no swift in PATH: install a Swift toolchain (6.2 or newer) from https://www.swift.org/install"
}
