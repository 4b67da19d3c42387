#!/bin/sh
# Makes a Debian package out of a tree that `make install PREFIX=/usr` filled: sh deb.sh TREE OUT
set -eu
tree=$(cd "$1" && pwd)
out=$2
here=$(cd "$(dirname "$0")" && pwd)
version=$("$tree/usr/bin/sheaf" --version)
arch=$(dpkg --print-architecture)
maintainer=${SHEAF_MAINTAINER:-"$(git -C "$here" log -1 --format='%an <%ae>')"}
date=$(git -C "$here" log -1 --format=%cD)

# The build tells where its own libraries are, which a package must not.
patchelf --remove-rpath "$tree/usr/bin/sheaf"
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$tree/usr/bin/sheaf"
# It is read, not run.
sed -i '1{/^#!/d}' "$tree/usr/share/bash-completion/completions/sheaf"
# Where Debian's zsh looks for what packages bring.
if [ -d "$tree/usr/share/zsh/site-functions" ]; then
  mv "$tree/usr/share/zsh/site-functions" "$tree/usr/share/zsh/vendor-completions"
fi
gzip -9nf "$tree"/usr/share/man/man*/*.[0-9]
doc=$tree/usr/share/doc/sheaf
mkdir -p "$doc"
cat >"$doc/copyright" <<EOF
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: sheaf

Files: *
Copyright: 2026 the authors of Sheaf
License: Apache-2.0
 On Debian systems the full text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
 .
 The program holds the Swift library and swift-argument-parser, which are
 under the same licence with the Runtime Library Exception.
EOF
gzip -9n >"$doc/changelog.gz" <<EOF
sheaf ($version) unstable; urgency=medium

  * See https://keepachangelog.com for the form of CHANGELOG.md, which has
    what a user notices.

 -- $maintainer  $date
EOF
gzip -9nc "$here/../CHANGELOG.md" >"$doc/CHANGELOG.md.gz"
gzip -9nc "$here/../README.md" >"$doc/README.md.gz"

# What the program is linked to tells what it depends on.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debian"
printf 'Source: sheaf\n\nPackage: sheaf\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O "$tree/usr/bin/sheaf" | sed -n 's/^shlibs:Depends=//p')
mkdir -p "$tree/DEBIAN"
cat >"$tree/DEBIAN/control" <<EOF
Package: sheaf
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f 1)
Depends: $depends
Recommends: openssh-client
Suggests: age, fuse3
Section: utils
Priority: optional
Description: dated, plain tar.gz backups, restorable with nothing but tar
 Sheaf saves folders to a drive, a machine reached with ssh, or an encrypted
 store, again and again. Each run compares the folders with the last backup
 and writes what changed into a dated tar.gz file, with a list of its contents
 beside it.
 .
 Any day can be restored, with Sheaf, with the script that lies on every
 store, or with plain tar. Points can be mounted as folders, verified, really
 restored for a trial, pruned and copied to other stores.
EOF
(cd "$tree" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
find "$tree" -type d -exec chmod 755 {} +
chmod 644 "$tree/DEBIAN/md5sums" "$tree/DEBIAN/control"
dpkg-deb --root-owner-group -Zxz --build "$tree" "$out/sheaf_${version}_$arch.deb"
