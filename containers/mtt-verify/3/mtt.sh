# In the builder: the wheel of mtt from its sources, and what the images get of it.
set -eu
export PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/build PATH="/opt/build/bin:$PATH"
export SOURCE_DATE_EPOCH=1795530598 CMAKE_BUILD_PARALLEL_LEVEL="${JOBS:-2}" HOME=/tmp
# Paths of the compiler's temporary files must not get into the program.
export CXXFLAGS="-ffile-prefix-map=/source=. -frandom-seed=mtt"
pip="$(echo /wheels/pip-*.whl)/pip"
run() { /opt/mtt/bin/python "$pip" --no-cache-dir --disable-pip-version-check --isolated "$@"; }

run wheel -q --no-index --no-deps --no-build-isolation --wheel-dir /out/wheel /source
mkdir -p /out/mtt
run install -qq --no-index --no-deps --no-compile --root-user-action=ignore \
  --root /out/mtt --prefix /opt/mtt --ignore-installed /out/wheel/mtt-*.whl
site=/opt/mtt/lib/python3.11/site-packages
rm -rf "/out/mtt$site/mtt/include" "/out/mtt$site/mtt/lib"
rm -f "/out/mtt$site"/mtt-*.dist-info/direct_url.json "/out/mtt$site"/mtt-*.dist-info/RECORD
# -I: neither the user's home nor PYTHONPATH, which Apptainer brings in, changes what runs.
printf '%s\n' '#!/opt/mtt/bin/python -I' 'import sys' 'from mtt.__main__ import main' \
  'sys.exit(main())' > /out/mtt/opt/mtt/bin/mtt
chmod 755 /out/mtt/opt/mtt/bin/mtt
python3.11 -m compileall -q -j1 --invalidation-mode unchecked-hash -s /out/mtt "/out/mtt$site"

# The verifier alone: the program and the libraries that it links, where it looks for them.
mkdir -p /out/verify/opt/verify/mtt/bin
cp -a "/out/mtt$site/mtt/bin/mtt-verify" /out/verify/opt/verify/mtt/bin/
for library in torch/lib/libtorch.so torch/lib/libtorch_cpu.so torch/lib/libc10.so \
  torch/lib/libgomp.so.1 metatensor/lib/libmetatensor.so vesin/lib/libvesin.so \
  metatensor_torch/torch-2.13/lib/libmetatensor_torch.so \
  metatomic/torch/torch-2.13/lib/libmetatomic_torch.so; do
  mkdir -p "/out/verify/opt/verify/$(dirname "$library")"
  cp -aL "$site/$library" "/out/verify/opt/verify/$library"
done
