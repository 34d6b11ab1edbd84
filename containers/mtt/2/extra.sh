# In the builder: packages beyond those that mtt needs, in a layer of their own.
set -eu
export PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
/opt/mtt/bin/python "$(echo /wheels/pip-*.whl)/pip" --no-cache-dir --disable-pip-version-check --isolated \
  install -qq --root-user-action=ignore --no-index -f /extra --no-deps --no-compile --require-hashes \
  --root /out/extra --prefix /opt/mtt --ignore-installed -r /recipe/extra.lock
python3.11 /recipe/prune.py /out/extra/opt/mtt
python3.11 -m compileall -q -j1 --invalidation-mode unchecked-hash -s /out/extra \
  /out/extra/opt/mtt/lib || echo "some files are not for this Python, and stay without bytecode"
