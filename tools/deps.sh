#!/bin/sh
# Install the Debian packages that a set of work needs. Quiet and instant when all are there.
#   tools/deps.sh [build] [demo] [test] [lint] [fuzz] [bench]      (default: build)
# Needs root or sudo only when something is missing.
set -eu

packages() {
    case $1 in
    build) echo gcc libc6-dev meson ninja-build pkg-config libuv1-dev libmicrohttpd-dev \
        libcurl4-gnutls-dev libjansson-dev libfyaml-dev libhwloc-dev libsqlite3-dev zlib1g-dev \
        libgnutls28-dev nettle-dev libzstd-dev uthash-dev libcmocka-dev ;;
    demo) echo lammps openmpi-bin ;;
    # iproute2 and nftables: tests/e2e/lab.bash puts sites into networks that break
    test) echo bats curl jq sqlite3 procps util-linux groff-base openmpi-bin lammps iproute2 nftables python3 openssl rclone ;;
    lint) echo clang-format clang-tidy shellcheck ;;
    fuzz) echo clang libclang-rt-14-dev llvm ;;
    bench) echo slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge openssh-server procps rsync zstd ;;
    fresh) echo debootstrap ;;
    *) echo "deps.sh: no set named '$1' (build demo test lint fuzz bench fresh)" >&2; exit 2 ;;
    esac
}

[ $# -gt 0 ] || set -- build
wanted=
for set_name; do wanted="$wanted $(packages "$set_name")"; done
missing=
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then as_root=
elif command -v sudo >/dev/null 2>&1; then as_root=sudo
else
    echo "deps.sh: these packages are missing, and neither root nor sudo is at hand:$missing" >&2
    exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # the lists are words, on purpose
{
    $as_root apt-get update -q &&
        $as_root apt-get install -q -y --no-install-recommends $missing
} >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    echo "deps.sh: apt-get could not install:$missing" >&2
    exit 1
}
