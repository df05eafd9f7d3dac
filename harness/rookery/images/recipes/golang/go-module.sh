#!/bin/sh
# go-module MODULE VERSION DEST: put the files of a published module into the folder DEST, writable.
set -e
dir=$(go mod download -json "$1@$2" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
[ -n "$dir" ] || { echo "$1@$2: no such module or version" >&2; exit 1; }
mkdir -p "$3"
cp -r --no-preserve=mode,ownership "$dir/." "$3"
