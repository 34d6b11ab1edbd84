# In the builder: what the image gets of the libraries, with bytecode that does not depend on the time
# of a file.
set -eu
export PYTHONHASHSEED=0
mkdir -p /out/libraries/opt
cp -a /opt/mtt /out/libraries/opt/mtt
python3.11 /recipe/prune.py /out/libraries/opt/mtt
python3.11 -m compileall -q -j1 --invalidation-mode unchecked-hash -s /out/libraries \
  /out/libraries/opt/mtt/lib || echo "some files are not for this Python, and stay without bytecode"
