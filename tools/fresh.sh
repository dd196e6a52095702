#!/bin/sh
# Prove the two commands where nothing was installed by hand: a Debian 12 made by debootstrap with
# git, make and gcc only, a clone of HEAD in it, then `make demo` and `make test`. Needs root. The
# mirror is the one this machine's own apt uses. MAINS_FRESH=DIR keeps the folder for another run.
#   tools/fresh.sh [demo] [test]
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "fresh.sh: needs root (chroot, mounts)" >&2; exit 1; }
top=$(pwd)
goals=${*:-demo test}
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
[ -n "$mirror" ] || { echo "fresh.sh: apt names no mirror: run apt-get update first" >&2; exit 1; }
root=${MAINS_FRESH:-$(mktemp -d /var/tmp/mains-fresh.XXXXXX)}

leave() { [ -n "${MAINS_FRESH:-}" ] || rm -rf "$root"; }
trap leave EXIT
trap 'exit 130' INT TERM

if [ ! -e "$root/usr/bin/git" ]; then
    echo "fresh: debootstrap bookworm into $root"
    debootstrap --variant=minbase --include=ca-certificates,git,make,gcc,libc6-dev bookworm \
        "$root" "$mirror" >"$root.log" 2>&1 || { tail -n 20 "$root.log" >&2; exit 1; }
    # This machine's way to its mirror: sources, keys and proxies.
    rm -rf "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.d"
    for part in sources.list sources.list.d apt.conf apt.conf.d; do
        [ ! -e "/etc/apt/$part" ] || cp -a "/etc/apt/$part" "$root/etc/apt/"
    done
    cp -a /etc/ssl/certs "$root/etc/ssl/" && cp -aL /etc/resolv.conf "$root/etc/resolv.conf"
    [ ! -d /usr/local/share/ca-certificates ] || cp -a /usr/local/share/ca-certificates "$root/usr/local/share/"
fi
cp -aL /etc/hosts "$root/etc/hosts"

# Run "$@" with the folder as the root of a mount namespace of its own, as on a machine of its own (a
# chroot may not make namespaces); its mounts end with it.
# shellcheck disable=SC2016
enter() {
    unshare --mount --propagation private sh -euc '
        root=$1
        shift
        mount --bind "$root" "$root"
        mount --rbind /proc "$root/proc"
        mount --rbind /sys "$root/sys"
        mount --rbind /dev "$root/dev"
        cd "$root"
        pivot_root . mnt
        umount -l /mnt
        exec "$@"' sh "$root" "$@"
}

rm -rf "$root/root/mains" && git clone -q "file://$top" "$root/root/mains"
failed=0
for goal in $goals; do
    echo "fresh: make $goal"
    start=$(date +%s)
    # A login's bare environment, and the way out that apt needs.
    if enter env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        ${no_proxy:+no_proxy="$no_proxy"} make -C /root/mains "$goal"; then
        echo "fresh: make $goal: good, $(($(date +%s) - start)) s"
    else
        failed=1
        echo "fresh: make $goal: FAILED after $(($(date +%s) - start)) s"
    fi
done
exit "$failed"
