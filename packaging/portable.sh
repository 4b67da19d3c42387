#!/bin/sh
# Makes an archive that runs where nothing is installed, as on a rescue disk: sh portable.sh TREE OUT
# TREE is what `make install PREFIX=/usr` filled. The program stands beside all libraries it needs, the C library and its
# loader included. One static file would be smaller, but not all of these libraries come as static ones, and a static C
# library can neither load libcurl nor look up users in a directory service.
set -eu
tree=$(cd "$1" && pwd)
out=$(cd "$2" && pwd)
version=$("$tree/usr/bin/sheaf" --version)
name=sheaf-$version-$(uname -m)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
top=$work/$name
mkdir -p "$top/lib"
cp "$tree/usr/bin/sheaf" "$top/lib/sheaf"
strip --strip-unneeded "$top/lib/sheaf"
cp -r "$tree/usr/share/man" "$top/man"

# What a program or a library is linked to, each as the path of a file.
linked() { ldd "$1" | sed -n 's/^.*=> \(\/[^ ]*\) (.*/\1/p; s/^[[:blank:]]*\(\/[^ ]*\) (.*/\1/p'; }
curl=$(ldconfig -p | sed -n 's/^.*libcurl\.so\.4 .*=> //p' | head -n 1)
{
  linked "$top/lib/sheaf"
  # Loaded when it is needed: for object stores.
  if [ -n "$curl" ]; then
    echo "$curl"
    linked "$curl"
  fi
} | sort -u | while read -r library; do cp -L "$library" "$top/lib/"; done
loader=$(basename "$(linked "$top/lib/sheaf" | grep '/ld-linux')")

cat >"$top/sheaf" <<EOF
#!/bin/sh
# Without a shell: lib/$loader --library-path lib lib/sheaf ...
here=\$(cd "\$(dirname "\$0")" && pwd)
exec "\$here/lib/$loader" --library-path "\$here/lib" "\$here/lib/sheaf" "\$@"
EOF
chmod 755 "$top/sheaf"
tar -C "$work" --owner=0 --group=0 --numeric-owner --sort=name -czf "$out/$name.tar.gz" "$name"
echo "$out/$name.tar.gz"
