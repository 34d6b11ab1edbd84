# In the builder: everything that mtt needs, installed from wheels whose hashes are locked.
set -eu
export PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
pip() { "$1" "$(echo /wheels/pip-*.whl)/pip" --no-cache-dir --disable-pip-version-check --isolated "$2" -qq \
  --root-user-action=ignore --no-index -f /wheels --no-deps --no-compile --require-hashes \
  "$3" "$4" "$5" "$6"; }

python3.11 -m venv --without-pip /opt/mtt
pip /opt/mtt/bin/python install -r /recipe/python.lock --prefix /opt/mtt
pip /opt/mtt/bin/python install -r /recipe/build.lock --target /opt/build

# What the image gets of them, with bytecode that does not depend on the time of a file.
mkdir -p /out/libraries/opt
cp -a /opt/mtt /out/libraries/opt/mtt
python3.11 /recipe/prune.py /out/libraries/opt/mtt
python3.11 -m compileall -q -j1 --invalidation-mode unchecked-hash -s /out/libraries \
  /out/libraries/opt/mtt/lib || echo "some files are not for this Python, and stay without bytecode"
