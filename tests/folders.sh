#!/bin/sh
# Prints where `make test` keeps its folders: in memory, where an fsync costs nothing (5 ms on a
# virtual machine's disk, and a registry's every write waits for one), if 4 GB of it are free, 12 GB
# of memory are, and a program can be started from there; otherwise the ordinary place.
ordinary=${TMPDIR:-/tmp}
shared=/dev/shm
free=$(df -Pk "$shared" 2>/dev/null | awk 'NR == 2 { print $4 }')
memory=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo 2>/dev/null)
if [ "${free:-0}" -ge 4000000 ] && [ "${memory:-0}" -ge 12000000 ]; then
    tried=$(mktemp "$shared/adapterworks-XXXXXX" 2>/dev/null) &&
        printf '#!/bin/sh\n' >"$tried" && chmod +x "$tried" && "$tried" 2>/dev/null &&
        ordinary=$shared
    rm -f "$tried"
fi
echo "$ordinary"
