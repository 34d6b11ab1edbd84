#!/usr/bin/env bash
# Sets up on Debian 12, as root, everything that builds and runs images: `setup-tools.sh FOLDER`.
# Leaves FOLDER/bin/apptainer, which is Apptainer of Debian sid in a root of its own, because Debian 12
# has none. It runs as the owner of the current folder, as a user of a cluster would.
set -euo pipefail

folder=$(mkdir -p "$1" && cd "$1" && pwd)
exec 9> "$folder/.lock"
flock 9 # others wait until all is there
packages=(buildah skopeo mmdebstrap squashfs-tools umoci docker-registry crun podman uidmap)

# Locked packages are fetched from these lists, which containers often lack. Old ones are better than none.
apt-get -qq update || echo "the lists of packages stay as they are" >&2

installed() { [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2> /dev/null)" = installed ]; }
missing=()
for one in "${packages[@]}"; do installed "$one" || missing+=("$one"); done
if [ ${#missing[@]} -gt 0 ]; then
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}" > /dev/null
    # Its package starts a registry at every boot; the tests start one of their own.
    [ ! -d /run/systemd/system ] || systemctl disable --quiet --now docker-registry || true
fi

root=$folder/sid
if [ ! -x "$root/usr/bin/apptainer" ]; then
    new=$(mktemp -d "$folder/.sid-XXXXXX")
    trap 'rm -rf "$new"' EXIT
    mmdebstrap --quiet --mode=root --variant=minbase --include=apptainer,ca-certificates,squashfuse \
        --aptopt='Acquire::Check-Valid-Until "false"' sid "$new"
    echo "127.0.0.1 localhost" > "$new/etc/hosts"
    chmod 755 "$new"
    mv "$new" "$root"
    trap - EXIT
fi

mkdir -p "$folder/bin"
# Replaced whole: another process may be running them.
cat > "$folder/.enter" <<'END'
# In a mount namespace of its own: make the root the one that is seen, and become the user.
set -eu
PATH=/usr/sbin:/sbin:$PATH
root=$1 owner=$2 here=$3
shift 3
mount --bind "$root" "$root"
for one in proc dev sys; do mount --rbind "/$one" "$root/$one"; done
# As on other systems, everybody may mount in user space.
[ -e "$root/fuse" ] || mknod -m 666 "$root/fuse" c 10 229 2> /dev/null || [ -e "$root/fuse" ]
[ ! -e /dev/fuse ] || mount --bind "$root/fuse" "$root/dev/fuse"
for one in /*; do
    case $one in
        /bin | /boot | /dev | /etc | /lib* | /lost+found | /proc | /run | /sbin | /sys | /usr | /var) continue ;;
    esac
    if [ -d "$one" ] && [ ! -L "$one" ]; then
        mkdir -p "$root$one"
        mount --rbind "$one" "$root$one"
    fi
done
mkdir -p "$root/old"
cd "$root"
pivot_root . old
umount -l /old
uid=${owner%:*} gid=${owner#*:}
grep -q "^[^:]*:[^:]*:$uid:" /etc/passwd || echo "user$uid:x:$uid:$gid::/nonexistent:/bin/sh" >> /etc/passwd
grep -q "^[^:]*:[^:]*:$gid:" /etc/group || echo "user$gid:x:$gid:" >> /etc/group
cd "$here"
[ "$uid" = 0 ] && exec "$@"
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --bounding-set=-all "$@"
END
mv "$folder/.enter" "$folder/enter"
cat > "$folder/.apptainer" <<END
#!/bin/sh
exec unshare --mount --propagation private sh "$folder/enter" "$root" "\$(stat -c %u:%g .)" "\$PWD" \\
    /usr/bin/apptainer "\$@"
END
chmod 755 "$folder/.apptainer"
mv "$folder/.apptainer" "$folder/bin/apptainer"
