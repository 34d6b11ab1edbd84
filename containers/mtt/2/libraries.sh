# In the builder: everything that mtt needs, installed from wheels whose hashes are locked.
set -eu
export PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
pip() { "$1" "$(echo /wheels/pip-*.whl)/pip" --no-cache-dir --disable-pip-version-check --isolated "$2" -qq \
  --root-user-action=ignore --no-index -f /wheels --no-deps --no-compile --require-hashes \
  "$3" "$4" "$5" "$6"; }

python3.11 -m venv --without-pip /opt/mtt
pip /opt/mtt/bin/python install -r /recipe/python.lock --prefix /opt/mtt
pip /opt/mtt/bin/python install -r /recipe/build.lock --target /opt/build
