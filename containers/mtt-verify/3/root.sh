# Called by mmdebstrap with the folder of a new base root: take out what no image needs, and whatever
# would differ from machine to machine.
set -eu
root=$1
cd "$root"
rm -rf etc/apt/sources.list* var/lib/apt/lists/* var/cache/* var/log/*
# mmdebstrap copies the first two from this machine, and wants them to be there when it ends.
for file in etc/hostname etc/resolv.conf etc/machine-id; do : > $file; chmod 644 $file; done
rm -rf tmp/* run/* root/.[a-z]* usr/share/man usr/share/info usr/share/locale usr/share/lintian
# libstdc++ brings scripts for a debugger, in Python.
rm -rf usr/share/gdb usr/share/gcc*
mkdir -p usr/share/doc
find usr/share/doc -type f ! -name copyright -delete
find usr/share/doc -type l -delete
find . -xdev -type f -perm /6000 -exec chmod ug-s {} +
mkdir -p data tmp var/tmp
chmod 1777 tmp var/tmp
touch etc/passwd etc/group
echo 'mtt:x:1000:1000:mtt:/data:/bin/sh' >> etc/passwd
echo 'mtt:x:1000:' >> etc/group
rm -f etc/passwd- etc/group- etc/shadow- etc/gshadow- var/lib/dpkg/*-old var/cache/ldconfig/aux-cache
if [ -x usr/bin/python3.11 ]; then
  # Bytecode that fits whatever the time of its source: images have one time for all files.
  find usr/lib -name __pycache__ -prune -exec rm -rf {} +
  # With the same variables everywhere: Python writes other bytecode, of what it imports, if it may.
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8 \
    chroot . python3.11 -m compileall -q -j1 --invalidation-mode unchecked-hash usr/lib/python3.11
fi
