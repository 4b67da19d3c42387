/// The script on every store that restores a point with nothing but sh, awk, tar and gzip.
enum RestoreScript {
  static let text = #"""
    #!/bin/sh
    # Restores a point of a Sheaf store without Sheaf: unpacks a full archive and what follows it, in order.
    # usage: sh restore.sh --series NAME --to DIR [--at POINT]
    set -eu
    LC_ALL=C
    export LC_ALL
    here=$(cd "$(dirname "$0")" && pwd)
    series= to= at=
    die() { echo "restore.sh: $*" >&2; exit 1; }
    while [ $# -gt 0 ]; do
      case $1 in
      --series) series=$2 ;;
      --to) to=$2 ;;
      --at) at=$2 ;;
      *) die "unknown argument $1 (usage: sh restore.sh --series NAME --to DIR [--at POINT])" ;;
      esac
      shift 2
    done
    [ -n "$series" ] && [ -n "$to" ] || die "usage: sh restore.sh --series NAME --to DIR [--at POINT]"
    [ -d "$here/$series" ] || die "no series $series here"
    mkdir -p "$to"
    [ -z "$(ls -A "$to")" ] || die "$to is not empty"
    chain=
    for manifest in "$here/$series"/*.mtree.gz; do
      name=$(basename "$manifest" .mtree.gz)
      if [ -n "$at" ]; then
        day=$(printf %s "$name" | cut -c "1-${#at}")
        [ "$(printf '%s\n%s\n' "$day" "$at" | sort | head -n 1)" = "$day" ] || continue
      fi
      case $name in
      *-full*) chain=$name ;;
      *) chain="$chain $name" ;;
      esac
    done
    [ -n "$chain" ] || die "no such point"
    tar --version 2>/dev/null | grep -q 'GNU tar' || die "this needs GNU tar"
    for name in $chain; do
      echo "$name"
      cat "$here/$series/$name".tar.gz* |
        tar -C "$to" --xattrs --xattrs-include='*' --acls --numeric-owner -p -g /dev/null -xzf -
    done
    """# + "\n"
}
