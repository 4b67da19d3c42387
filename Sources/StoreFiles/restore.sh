#!/bin/sh
# Restores a point of a Sheaf store without Sheaf. It needs
# sh, awk and gzip; with GNU tar or bsdtar it is quicker.
#
#   sh restore.sh [--series NAME] [--at POINT] --to DIR
#                 [--key FILE] [--no-check] [--force]
#                 [PATH...]
#   sh restore.sh [--series NAME] [--at POINT] --list
#                 [--key FILE] [PATH...]
#
# POINT is a set's name, a date (2026-11-24) or the beginning
# of a time in UTC (2026-11-24T06): the newest set not after
# its end is taken. Without --at it is the newest of all.
# DIR must be empty or new, and have room for all that comes
# (--force goes on without). With PATHs only these come back,
# with what is below them; --list shows how they are written.
# --no-check does not read the archives first to check their
# digests: each file is compared when it is there, and what
# is damaged is named and removed. The variable TAR names the
# tar to use; TAR=none goes by the manifests alone, slower,
# which brings back what lies behind damage.
#
# An encrypted store (names end in .age) needs its key, with
# --key, and the program age or rage. FILE may be one of the
# locked copies in the folder keys.
#
# How it works: a set is an archive and a manifest, a text
# with a line for each file. The manifests together say what
# there was, and in which archive its bytes lie. Directories
# are made first. Each archive is unpacked into an empty
# directory of its own, of which nothing is kept but plain
# files; these are moved to their places. Symbolic links are
# made when all files are there, so there is never one to go
# through. What a manifest says is data: a byte that the
# format does not allow is refused, and no shell ever runs a
# text with a name in it.
#
# Ends with 0: all is there; 1: failed; 3: some of it could
# not be restored; 4: damage was found; 64: wrong usage.
set -u
unset CDPATH ENV BASH_ENV TAR_OPTIONS POSIXLY_CORRECT GZIP TAPE TAR_READER_OPTIONS COPYFILE_DISABLE QUOTING_STYLE \
  TIME_STYLE BLOCK_SIZE BLOCKSIZE LS_BLOCK_SIZE AWKPATH AWKLIBPATH
unset -f awk gzip tar touch chmod chown mkdir mv ln rm find sort printf dd 2>/dev/null || :
LC_ALL=C
TZ=UTC0
export LC_ALL TZ
users_mask=$(umask)
umask 077

# On a terminal, lines end between words.
columns=
if [ -t 2 ]; then columns=$(stty size <&2 2>/dev/null) && columns=${columns#* } || columns=; fi
say() {
  printf '%s\n' "restore.sh: $*" | tr '\001-\011\013-\037\177-\377' '?' |
    if [ "${columns:-0}" -lt 20 ]; then cat; else
      awk -v width="$columns" '{
        count = split($0, word, / /)
        line = word[1]
        for (i = 2; i <= count; i++)
          if (length(line " " word[i]) > width) { print line; line = word[i] } else line = line " " word[i]
        print line
      }'
    fi >&2
}
die() { status=$1; shift; say "$*"; exit "$status"; }
usage() { die 64 "$1 (sh restore.sh --help tells how it is used)"; }
have() { command -v "$1" >/dev/null 2>&1; }

# What is neither an option nor its value goes to the end of the arguments, and is all that is left of them.
series='' at=latest to='' check=yes list='' key='' force='' left=$#
while [ "$left" -gt 0 ]; do
  word=$1 value=''
  shift
  left=$((left - 1))
  case $word in
  --series | --at | --to | --key)
    [ "$left" -gt 0 ] || usage "$word needs a value"
    value=$1
    shift
    left=$((left - 1))
    ;;
  --series=* | --at=* | --to=* | --key=*) value=${word#*=} ;;
  esac
  case $word in
  --series | --series=*) series=$value ;;
  --at | --at=*) at=$value ;;
  --to | --to=*) to=$value ;;
  --key | --key=*) key=$value ;;
  --no-check) check= ;;
  --force) force=yes ;;
  --list) list=yes ;;
  -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p; /^set/q' "$0"; exit 0 ;;
  -*) usage "unknown argument $word" ;;
  '') usage "an empty path names nothing" ;;
  *) set -- "$@" "$word" ;;
  esac
done
[ -n "$to" ] || [ -n "$list" ] || usage "--to is missing"
case $to in /*) ;; *) to=$PWD/$to ;; esac
case $key in '' | /*) ;; *) key=$PWD/$key ;; esac

# --- Tools ---

tmp=${TMPDIR:-/tmp}
# A key that is unlocked is written to no disk, where that can be had.
if [ -n "$key" ] && [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then tmp=/dev/shm; fi
case $tmp in /*) ;; *) tmp=$PWD/$tmp ;; esac
tmp=$(mktemp -d "$tmp/sheaf.XXXXXX") || die 1 "cannot make a directory for temporary files"
root='' mode='' work=''
clean_up() {
  cd /
  [ -z "$work" ] || rm -rf -- "$work"
  [ -z "$mode" ] || chmod "$mode" "$root"
  rm -rf -- "$tmp"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

for tool in awk gzip sort find od; do have "$tool" || die 1 "needs $tool, which is not installed"; done
[ "$(awk 'BEGIN { printf "%c", 200 }' | wc -c)" -eq 1 ] ||
  die 1 "this awk cannot write single bytes; install mawk, gawk or busybox"

# Which tar: gnu, bsd, or none. Others go through links that an archive brings: without one of these two the bytes of
# each file are taken out of the archive by what the manifest says of their place.
kind_of_tar() {
  [ "$1" != none ] || { echo none; return; }
  case $($1 --version 2>/dev/null) in
  *GNU*) echo gnu ;;
  *bsdtar*) echo bsd ;;
  *) echo none ;;
  esac
}
reader=none
if [ -n "${TAR:-}" ]; then
  tar=$TAR reader=$(kind_of_tar "$TAR")
else
  for tar in tar gtar bsdtar; do
    ! have "$tar" || reader=$(kind_of_tar "$tar")
    [ "$reader" = none ] || break
  done
fi
if [ "$reader" = none ]; then
  printf 12345 | { dd bs=3 count=1 iflag=fullblock; } >"$tmp/three" 2>/dev/null
  [ "$(cat "$tmp/three")" = 123 ] || die 1 "needs GNU tar, bsdtar, or a dd that knows iflag=fullblock"
fi

if [ "$(id -u)" = 0 ]; then superuser=yes; else superuser=; fi
sums=yes
if have sha256sum; then sum() { sha256sum "$@"; }
elif have shasum; then sum() { shasum -a 256 "$@"; }
else
  sums=no
  sum() { :; }
fi
if touch -d @1.5 "$tmp/touched" 2>/dev/null; then times=nano
elif touch -d @1 "$tmp/touched" 2>/dev/null; then times=seconds
else times=calendar; fi
if ln -P "$tmp/touched" "$tmp/linked" 2>/dev/null; then physical=-P; else physical=; fi

# --- Which sets ---

here=$(dirname -- "$0")
case $here in /*) ;; *) here=./$here ;; esac
cd -P "$here" || die 1 "cannot find the store"
here=$PWD

# --- What is encrypted ---

# Shows what is in an encrypted file. (Whoever reads it looks whether this went well: age gives out what it has read
# before it finds that the rest is damaged.)
opened() { "$age" -d -i "$key" "$1"; }

sealed='' plain_until=''
if [ -n "$key" ] || grep -q '^requires=.*age' sheaf.store 2>/dev/null; then
  sealed=yes
  [ -n "$key" ] || die 1 "this store is encrypted: give its key with --key FILE"
  [ -f "$key" ] || die 1 "there is no file $key"
  for age in age rage none; do ! have "$age" || break; done
  [ "$age" != none ] || die 1 "needs the program age or rage for an encrypted store, and neither is installed"
  # A locked copy is unlocked once.
  case $(head -n 1 "$key") in age-encryption.org/*)
    # (age asks on the terminal, rage may do so on standard error.)
    : >"$tmp/said"
    if [ "$age" = age ]; then age -d "$key" >"$tmp/key" 2>"$tmp/said"; else "$age" -d "$key" >"$tmp/key"; fi ||
      case $(cat "$tmp/said") in
      *"incorrect passphrase"*) die 1 "wrong passphrase for $key" ;;
      *) die 1 "cannot unlock $key$(sed -n 's/^age: error: /: /p' "$tmp/said" | head -n 1)" ;;
      esac
    key=$tmp/key
    ;;
  esac
  # Sets that are not encrypted count only up to then.
  plain_until=$(sed -n 's/^# plain-until: //p' "$key" | head -n 1)
fi

known='' found=''
for manifest in "$here"/*/*.mtree.gz "$here"/*/*.mtree.gz.age; do
  [ -f "$manifest" ] || continue
  found=${manifest%/*} found=${found##*/}
  case ", $known, " in *", $found, "*) continue ;; esac
  known="$known${known:+, }$found"
done
if [ -z "$series" ]; then
  series=$found
  [ -n "$series" ] || die 1 "there is no backup in $here"
  [ "$known" = "$series" ] || usage "there are several series, choose one with --series: $known"
fi
dir=$here/$series
case $series in */* | .*) usage "$series is no series' name" ;; esac
[ -d "$dir" ] || die 1 "there is no series $series in $here${known:+; there is: $known}"

# All sets by name. Of several for one point (-full, -full-2) the highest number counts.
for manifest in "$dir"/*.mtree.gz "$dir"/*.mtree.gz.age; do
  [ -f "$manifest" ] || continue
  manifest=${manifest##*/}
  case $manifest in *.age) echo "${manifest%.mtree.gz.age}" ;; *) echo "${manifest%.mtree.gz} plain" ;; esac
done | awk -v days="[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z" \
  -v sealed="$sealed" -v until="$plain_until" '
  $1 !~ ("^" days "-(full|incr|diff)(-[1-9][0-9]*)?$") { next }
  sealed != "" && $2 == "plain" && substr($1, 1, 18) > until "" {
    print "restore.sh: " $1 " is not encrypted in an encrypted store: passed over" >"/dev/stderr"
    next
  }
  !($1 in seen) { seen[$1]; print $1 }' | sort >"$tmp/sets"
[ -s "$tmp/sets" ] || die 1 "there is no backup in $dir"

# find_set WHAT: the newest set not after the end of what is named, or the one for just that point (=POINT).
find_set() {
  awk -v what="$1" '
    { point = substr($0, 1, 18); split($0, part, "-"); number = part[5] + 0 }
    !(point in best) || number >= most[point] { best[point] = $0; most[point] = number }
    END {
      exact = substr(what, 1, 1) == "="
      if (exact) what = substr(what, 2)
      for (point in best) {
        if (exact ? point == what : what == "latest" || substr(point, 1, length(what)) <= what "")
          if (point > found "") found = point
      }
      if (found != "") print best[found]
    }' "$tmp/sets"
}

case $at in
latest) set=$(find_set latest) ;;
*-full | *-incr | *-diff | *-full-* | *-incr-* | *-diff-*)
  # It may have been replaced by another set for the same point.
  set=$(find_set "=${at%%Z-*}Z")
  [ -n "$set" ] || die 1 "the set $at is not in $dir"
  ;;
*)
  # 2026-11-24T06:00:00Z is written 2026-11-24T060000Z in names.
  at=$(printf '%s' "$at" | tr -d ':Z')
  printf '%s\n' "$at" | awk '{ exit !/^[0-9][0-9][0-9][0-9](-[0-9][0-9](-[0-9][0-9](T[0-9]*)?)?)?$/ }' ||
    usage "--at takes a set's name, a date like 2026-11-24 or a time like 2026-11-24T06"
  set=$(find_set "$at")
  [ -n "$set" ] || die 1 "there is no point at or before $at; the oldest is $(head -n 1 "$tmp/sets")"
  ;;
esac
target=$set

manifest() {
  if [ -n "$sealed" ] && [ -f "$dir/$1.mtree.gz.age" ]; then opened "$dir/$1.mtree.gz.age" | gzip -dc
  else [ -f "$dir/$1.mtree.gz" ] && gzip -dc <"$dir/$1.mtree.gz"; fi
}

# read_head SET: its kind, what it builds on, what one must understand to read it.
read_head() {
  manifest "$1" 2>/dev/null | awk -v name="$1" '
    (size += length($0)) > 50331648 || NR > 1048600 || (NR == 1 && $0 != "#mtree") { exit }
    /^\./ { complete = 1; exit }
    $2 == "sheaf:" { format = $3 }
    $2 == "requires:" { sub(/^# requires: */, ""); requires = $0 }
    $2 == "id:" { id = $3 }
    $2 == "kind:" { kind = substr($3, 1, 4) }
    $2 == "time:" { time = $3 }
    $2 == "parent:" { parent = $3; digest = $4 }
    END {
      if (kind == "incr" || kind == "diff" || kind == "full") own = time "-" kind
      if (!complete || substr(name, 1, length(own)) != own || own == "" || (kind == "full") != (parent == ""))
        print "damaged"
      else if (format != "1" || requires != "") print "unknown", requires
      else if (id !~ /^[0-9a-f]+$/ || length(id) != 16) print "damaged"
      else if (kind == "full") print "full", id
      else if (parent !~ /^[0-9TZ-]+$/ || digest !~ /^[0-9a-f]+$/ || parent >= time "") print "damaged"
      else print "more", id, parent, digest
    }'
}

# Whether the key is one for this series at all.
opens_any() {
  while read -r name; do
    if [ -f "$dir/$name.mtree.gz.age" ] && opened "$dir/$name.mtree.gz.age" 2>/dev/null | grep -q ''; then return 0; fi
  done <"$tmp/sets"
  return 1
}

# Whether the archives are there of all that a set builds on. (Once it is known that one of them is not, it is known of
# every set that was come by.)
whole() (
  link=$1 way=$1
  while ! grep -qxF "$link" "$tmp/not-whole"; do
    read -r what id parent digest <<END
$(read_head "$link")
END
    manifest "$link" 2>/dev/null | awk '$2 == "volume:" { print $3 }' >"$tmp/parts"
    case $what in full | more) ;; *) break ;; esac
    [ -s "$tmp/parts" ] || break
    while read -r name; do case $name in */*) break 2 ;; *) [ -f "$dir/$name" ] || break 2 ;; esac; done <"$tmp/parts"
    [ "$what" = more ] || exit 0
    link=$(find_set "=$parent")
    [ -n "$link" ] || break
    way="$way $link"
  done
  # shellcheck disable=SC2086
  printf '%s\n' $way >>"$tmp/not-whole"
  exit 1
)
# Says which is the newest point before one that is not needed to restore it.
say_older() {
  : >"$tmp/not-whole"
  cut -c 1-18 "$tmp/sets" | sort -ru | awk -v before="$1" '$0 < before ""' | while read -r point; do
    older=$(find_set "=$point")
    if whole "$older"; then
      say "the newest point before it comes back with --at $older"
      break
    fi
  done
}

# From the newest to the full one.
chain='' ids=''
: >"$tmp/parents"
while :; do
  read -r what id parent digest <<END
$(read_head "$set")
END
  case $what in
  full | more) ;;
  unknown) die 1 "$set needs a newer restore.sh: it uses $id $parent $digest" ;;
  *)
    [ -z "$sealed" ] || opens_any || die 1 "this key opens no backup in $dir: it is the key of another store"
    die 4 "$set.mtree.gz is damaged"
    ;;
  esac
  chain="$chain${chain:+ }$set" ids="$ids${ids:+ }$id"
  [ "$what" = more ] || break
  child=$set
  set=$(find_set "=$parent")
  if [ -z "$set" ]; then
    say "a set is missing: $child builds on the point $parent, and there is no $parent-* in $dir"
    say_older "$parent"
    exit 1
  fi
  echo "$child $set $digest" >>"$tmp/parents"
done

# --- What there was, from the manifests ---

# What was asked for, written as a manifest writes it.
: >"$tmp/asked"
for word; do
  printf '%s' "$word" | od -An -v -to1 | awk '
    BEGIN {
      for (i = 33; i < 127; i++) {
        c = sprintf("%c", i)
        if (c ~ "[A-Za-z0-9_.,/+:@%-]") plain[sprintf("%03o", i)] = c
      }
    }
    { for (i = 1; i <= NF; i++) out = out (($i in plain) ? plain[$i] : "\\" $i) }
    END {
      # What --list shows as three digits.
      while (match(out, /\\134[0-3][0-7][0-7]/)) out = substr(out, 1, RSTART) substr(out, RSTART + 4)
      gsub(/\/+/, "/", out)
      sub(/^(\.?\/)+/, "", out)
      sub(/\/$/, "", out)
      if (out == "." ) out = ""
      print out
    }' >>"$tmp/asked"
done
if grep -q '^$' "$tmp/asked"; then : >"$tmp/asked"; fi

# The calendar of a time in UTC.
days='
  function calendar(time,   part, days, rest, era) {
    split(time, part, ".")
    days = int(part[1] / 86400)
    if (days * 86400 > part[1] + 0) days--
    rest = part[1] - days * 86400
    days += 719468
    era = int(days / 146097)
    if (era * 146097 > days) era--
    days -= era * 146097
    year = int((days - int(days / 1460) + int(days / 36524) - int(days / 146096)) / 365)
    day = days - (365 * year + int(year / 4) - int(year / 100))
    month = int((5 * day + 2) / 153)
    day = day - int((153 * month + 2) / 5) + 1
    month = month < 10 ? month + 3 : month - 9
    year += era * 400 + (month <= 2)
    hour = int(rest / 3600)
    minute = int(rest % 3600 / 60)
    second = rest % 60
  }
  # A time as touch takes it.
  function stamp(time,   part, seconds) {
    if (times == "calendar") {
      calendar(time)
      return sprintf("%04d%02d%02d%02d%02d.%02d", year, month, day, hour, minute, second)
    }
    split(time, part, ".")
    seconds = part[1]
    if (times == "seconds") return "@" seconds
    # Floored seconds and what comes after: -2.5 in the manifest is one and a half before 1970.
    if (seconds ~ /^-/ && part[2] + 0 > 0)
      return "@-" sprintf("%.0f", -1 - seconds) "." sprintf("%09.0f", 1000000000 - part[2])
    return "@" time
  }
'

# What the programs below have in common: how a manifest is read. Paths stay as they are written, with a backslash and
# three digits for each byte that is not plain, until a command needs them.
# shellcheck disable=SC2016
reading='
  BEGIN {
    for (i = 1; i < 256; i++) {
      c = sprintf("%c", i)
      if (i > 126 || i == 44 || i == 58 || i == 64 || c !~ "[A-Za-z0-9_./+%-]") byte[sprintf("%03o", i)] = c
    }
    word = "[A-Za-z0-9_.,/+:@%\\\\-]+"
    start = "^\\./" word " type="
    owner = " uid=[0-9]+ gid=[0-9]+ mode=[0-7]+"
    time = " time=-?[0-9]+\\.[0-9]+"
    tags = " tags=" word "$"
    shape["type=dir"] = start "dir" owner time tags
    shape["type=fifo"] = start "fifo" owner time tags
    shape["type=link"] = start "link" owner time " link=" word tags
    shape["type=char"] = shape["type=block"] = start "(char|block)" owner time " device=native,[0-9]+,[0-9]+" tags
    shape["type=file"] = start "file" owner " size=[0-9]+" time " sha256=[0-9a-f]+" tags
  }
  function fail(text) {
    if (!failed) print set[n] ".mtree.gz: line " (NR - first + 1) " " text >"error"
    failed = 1
    exit 1
  }
  # Nothing is done with a line that holds what the format does not allow.
  length($0) > 33554432 { fail("is too long") }
  $0 ~ "[^A-Za-z0-9_.,/+:@%\\\\ =#-]" { fail("holds a byte that may not stand there") }
  /\\/ {
    parts = split($0, part, /\\/)
    for (i = 2; i <= parts; i++) if (!(substr(part[i], 1, 3) in byte)) fail("cannot be read")
  }
  /^\.\// { if (!($2 in shape) || $0 !~ shape[$2]) fail("cannot be read") }
  function path(p) {
    if (("/" p "/") ~ /\/(\.|\.\.)?\// || p ~ /\\(054|072|100)/ || p ~ / /) fail("names an unsafe path")
    return p
  }
  # Of an encrypted file its size and digest, and how many bytes are in it.
  function is_volume() {
    if ((NF != 5 && (NF != 6 || $6 !~ /^[0-9]+$/)) || ($3 ~ /\.age$/) != (NF == 6)) return 0
    return $3 ~ /^[0-9A-Za-z][0-9A-Za-z._-]*$/ && $4 ~ /^[0-9]+$/ && $5 ~ /^[0-9a-f]+$/
  }
  function parent(p) { return match(p, "/[^/]*$") ? substr(p, 1, RSTART - 1) : "" }
  # The first name of an inode is told in a tag, where three more bytes are escaped.
  function untagged(p) {
    if (!index(p, "\\")) return p
    gsub(/\\054/, ",", p)
    gsub(/\\072/, ":", p)
    gsub(/\\100/, "@", p)
    return p
  }
  # Takes the tags of a line apart: `canon` is what stands before the @; `place` the first extent, `key` where it is.
  function read_tags(   all, at) {
    all = substr($NF, 6)
    at = index(all, "@")
    if (!at) fail("cannot be read")
    canon = substr(all, 1, at - 1)
    local = substr(all, at + 1) ","
    place = key = holder = ""
    if (match(local, /,p:[0-9a-f]+:[0-9]+:[0-9]+:[0-9]+:[0-9]+,/)) {
      split(substr(local, RSTART + 3, RLENGTH - 4), place_part, ":")
      if (length(place_part[1]) != 16) fail("cannot be read")
      key = place_part[1] " " place_part[2] " " place_part[4]
    }
    names = ""
    if (match(canon, /(^|,)l:[^,]*,/)) {
      names = substr(canon, RSTART, RLENGTH)
      canon = substr(canon, 1, RSTART - 1) substr(canon, RSTART + RLENGTH - (RSTART > 1))
      gsub(/,/, "", names)
      names = path(untagged(substr(names, 3)))
    }
  }
'

# Newest first. Of each path the newest line counts; what is gone, or became something else, hides what older sets say
# of what was below it. The lines of the point go to `tree`; what lies in an archive under a name that is not known yet
# to `sought`.
for set in $chain; do
  # (Where the reader below stops, the next ones find nobody to take what they say: 141 is SIGPIPE.)
  manifest "$set" || { [ $? -eq 141 ] || say "$set.mtree.gz cannot be read to its end"; break; }
done | (cd "$tmp" && awk -v sets_="$chain" -v ids_="$ids" "$reading"'
  BEGIN {
    sets = split(sets_, set, " ")
    split(ids_, id, " ")
    while ((getline line <"asked") > 0) {
      asked[line] = 1
      any++
      while ((line = parent(line)) != "") above[line] = 1
    }
    close("asked")
  }
  $0 == "#mtree" {
    if (n && !ended) fail("begins another manifest")
    if (++n > sets) fail("cannot be read")
    first = NR
    ended = 0
    last_above = "/"
    next
  }
  !n || ended { fail("cannot be read") }
  function is_hidden(p) {
    for (; p != ""; p = parent(p)) if (p in hides && hides[p] < n) return 1
    return 0
  }
  # Whether an older line for it counts no more.
  function is_over(p,   a) {
    if (p in seen) {
      if (seen[p] == n) fail("tells of a path again")
      return 1
    }
    if (n < sets) seen[p] = n
    if (n == 1 || !any_hides) return 0
    a = parent(p)
    if (a != last_above) {
      last_above = a
      hidden = is_hidden(a)
    }
    return hidden
  }
  function hide(p) { if (n < sets && !(p in hides)) { hides[p] = n; any_hides = 1 } }
  function chosen(p,   q) {
    if (!any) return 1
    for (q = p; q != ""; q = parent(q)) if (q in asked) { met[q] = 1; return 1 }
    return $2 == "type=dir" && p in above
  }
  /^\.\// {
    p = path(substr($1, 3))
    over = is_over(p)
    if ($2 != "type=dir" || $NF ~ /@.*,f(,|$)/) hide(p)
    if (over || !chosen(p)) next
    print n, $0 >"tree"
    if ($2 != "type=file" && !index($NF, "l:")) next
    read_tags()
    if (names != "") print names >"firsts"
    if ($2 == "type=file" && key != "" && (place_part[1] != id[n] || names != "" || local ~ /,m,/)) {
      print key >("sought." place_part[1])
      if (!(place_part[1] in wanted)) print place_part[1] >"wanted"
      wanted[place_part[1]] = 1
    }
    next
  }
  /^# deleted / {
    if (NF != 3 || $3 !~ /^\.\/./) fail("cannot be read")
    p = path(substr($3, 3))
    is_over(p)
    hide(p)
    next
  }
  # Nothing is renamed here, the lines of the point say where all is; but what cannot be read is not passed over.
  /^# renamed / {
    if (NF != 4 || $3 !~ /^\.\// || $4 !~ /^\.\// || set[n] ~ /-full(-|$)/) fail("cannot be read")
    path(substr($3, 3))
    path(substr($4, 3))
    next
  }
  /^# volume: / {
    if (!is_volume()) fail("cannot be read")
    print $3, $4, $5, (NF == 6 ? $6 : $4) >("volumes." set[n])
    next
  }
  /^# point: / { print set[n], $3 >"points"; next }
  /^# end: / { print $3 >("end." set[n]); ended = 1; next }
  # The newest set says what / was like, where that was a source.
  /^# top: / && n == 1 && !any {
    line = "./top " substr($0, 8) "@"
    if (line !~ shape["type=dir"]) fail("cannot be read")
    print n, line >"top"
  }
  /^# / || /^\. type=dir/ { next }
  { fail("cannot be read") }
  END {
    if (failed) exit 1
    if (n != sets || !ended) { print set[n] ".mtree.gz is cut short" >"error"; exit 1 }
    for (p in asked) if (!(p in met)) print p >"missed"
  }
') || [ -s "$tmp/error" ] || die 1 "cannot read the manifests"
[ ! -s "$tmp/error" ] || die 4 "$(head -n 1 "$tmp/error")"
[ ! -s "$tmp/missed" ] || die 1 "not in $target (--list shows its paths): $(head -n 20 "$tmp/missed" | tr '\n' ' ')"
: >>"$tmp/tree"
: >>"$tmp/top"

while read -r child parent digest; do
  grep -qx "$parent $digest" "$tmp/points" ||
    die 4 "$parent is not the set that $child builds on: they do not fit together"
done <"$tmp/parents"

if [ -n "$list" ]; then
  awk "$days"'
    BEGIN {
      for (i = 32; i < 256; i++) if (i != 127 && i != 92) byte[sprintf("%03o", i)] = sprintf("%c", i)
    }
    function shown(text,   part, count, i, key, out) {
      count = split(text, part, /\\/)
      out = part[1]
      for (i = 2; i <= count; i++) {
        key = substr(part[i], 1, 3)
        out = out (key in byte ? byte[key] : "\\" key) substr(part[i], 4)
      }
      return out
    }
    {
      size = link = time = ""
      for (i = 3; i < NF; i++) {
        if ($i ~ /^size=/) size = substr($i, 6)
        if ($i ~ /^link=/) link = " -> " substr($i, 6)
        if ($i ~ /^time=/) time = substr($i, 6)
      }
      calendar(time)
      printf "%-4s %12s  %04d-%02d-%02d %02d:%02d  %s\n", \
        substr($3, 6, 4), (size == "" ? "-" : size), year, month, day, hour, minute, \
        shown(substr($2, 3) ($3 == "type=dir" ? "/" : "") link)
    }' "$tmp/tree" | sort -k5
  exit
fi
# --- In which archive it lies, and under which name ---

# Sets of this chain, or older ones that hold the last good copy of something.
: >"$tmp/have"
: >"$tmp/found"
: >>"$tmp/firsts"
set_of() {
  # shellcheck disable=SC2086
  printf '%s\n' "$ids" "$chain" | awk -v id="$1" '
    NR == 1 { for (i = 1; i <= NF; i++) if ($i == id) at = i }
    NR == 2 && at { print $at }'
}
for id in $ids; do echo "$id $(set_of "$id")" >>"$tmp/have"; done
if [ -f "$tmp/wanted" ]; then
  while read -r id; do
    set=$(set_of "$id")
    if [ -z "$set" ]; then
      [ -f "$tmp/heads" ] || while read -r set; do
        read -r what own rest <<END
$(read_head "$set")
END
        case $what in full | more) echo "$own $set" ;; esac
      done <"$tmp/sets" >"$tmp/heads"
      set=$(awk -v id="$id" '$1 == id { set = $2 } END { print set }' "$tmp/heads")
      [ -n "$set" ] || continue
      manifest "$set" 2>/dev/null | (cd "$tmp" && awk -v name="$set" "$reading"'
        $2 == "volume:" && is_volume() { print $3, $4, $5, (NF == 6 ? $6 : $4) >("volumes." name) }')
      [ -s "$tmp/volumes.$set" ] || continue
      while read -r name rest; do [ -f "$dir/$name" ] || set=; done <"$tmp/volumes.$set"
      [ -n "$set" ] || continue
      echo "$id $set" >>"$tmp/have"
    fi
    manifest "$set" 2>/dev/null | (cd "$tmp" && awk -v id="$id" -v name="$set" "$reading"'
      BEGIN {
        n = 1
        set[1] = name
        while ((getline line <("sought." id)) > 0) sought[line] = 1
      }
      /^\.\// && $2 == "type=file" {
        p = path(substr($1, 3))
        read_tags()
        if (key == "" || !(key in sought) || place_part[1] != id || local ~ /,m,/) next
        if (names != "") { alone[key] = p; next }
        print key, p, $3 $4 $5 $7, (canon == "" ? "-" : canon) >"found"
        delete sought[key]
      }
      # What was another name of a file that has changed since is stored by itself.
      END { for (key in alone) if (key in sought) print key, alone[key], "-", "-" >"found" }' && cat found >>founds && : >found)
    [ ! -s "$tmp/error" ] || die 4 "$(head -n 1 "$tmp/error")"
  done <"$tmp/wanted"
fi

# What is to be done. Each line is one path, or begins with `!` and says what is done with those that follow; a path
# stands as it is behind a `=`, or, where there is a line feed in it, as text for printf behind a backslash. These are
# read by `follow`, below.
(cd "$tmp" && : >>founds && awk -v reader="$reader" -v superuser="$superuser" -v times="$times" -v ids_="$ids" "$days"'
  BEGIN {
    for (i = 1; i < 256; i++) byte[sprintf("%03o", i)] = sprintf("%c", i)
    split(ids_, id, " ")
    zeros = "\001"
    while (length(zeros) < 512) zeros = zeros zeros
    while ((getline line <"firsts") > 0) is_first[line] = 1
    while ((getline line <"have") > 0) { split(line, part, " "); have[part[1]] }
    while ((getline line <"founds") > 0) {
      split(line, part, " ")
      line = part[1] " " part[2] " " part[3]
      found[line] = part[4]
      found_like[line] = part[5] " " part[6]
    }
  }
  function parent(p) { return match(p, "/[^/]*$") ? substr(p, 1, RSTART - 1) : "" }
  function base(p) { return match(p, "/[^/]*$") ? substr(p, RSTART + 1) : p }
  function decoded(text,   part, count, i, out) {
    if (!index(text, "\\")) return text
    count = split(text, part, /\\/)
    out = part[1]
    for (i = 2; i <= count; i++) out = out byte[substr(part[i], 1, 3)] substr(part[i], 4)
    return out
  }
  function field(text) {
    if (!index(text, "\\012")) return "=" decoded(text)
    gsub(/%/, "%%", text)
    return "\\" text
  }
  function untagged(p) { gsub(/\\054/, ",", p); gsub(/\\072/, ":", p); gsub(/\\100/, "@", p); return p }
  # One path for one step of the work; those of a kind are put together later.
  function task(step, what, p) { print what "\t" field("./" p) >step }
  # Path, kind, tags before and after the @, the first name of the inode, and where the bytes lie.
  function read_line(   all, part) {
    n = $1
    p = substr($2, 3)
    kind = substr($3, 6)
    all = substr($NF, 6)
    canon = substr(all, 1, index(all, "@") - 1)
    local = substr(all, index(all, "@") + 1) ","
    first = key = ""
    if (match(canon, /(^|,)l:[^,]*,/)) {
      first = substr(canon, RSTART, RLENGTH)
      canon = substr(canon, 1, RSTART - 1) substr(canon, RSTART + RLENGTH - (RSTART > 1))
      gsub(/,/, "", first)
      first = untagged(substr(first, 3))
    }
    if (kind == "file" && match(local, /,p:[0-9a-f]+:[0-9]+:[0-9]+:[0-9]+:[0-9]+,/)) {
      split(substr(local, RSTART + 3, RLENGTH - 4), part, ":")
      key = part[1] " " part[2] " " part[4]
    }
  }
  # For those who read without a tar: every extent, and the pieces of a file whose holes were left out.
  function extents(   count, part, i, place, last, total, number, set, size, at, pieces, hole, digest) {
    count = split(local, part, ",")
    for (i = 1; i <= count; i++) if (part[i] ~ /^p:[0-9a-f]+:[0-9]+:[0-9]+:[0-9]+:[0-9]+$/) {
      last = i
      total++
    }
    for (i = 1; i <= count; i++) if (part[i] ~ /^p:[0-9a-f]+:[0-9]+:[0-9]+:[0-9]+:[0-9]+$/) {
      split(part[i], place, ":")
      number++
      digest = number == total && local !~ /,k,/ ? substr($9, 8) : "-"
      print place[2], place[3], place[5], place[6], number, p, digest >"extents"
    }
    if (local !~ /,k,/) return
    size = substr($7, 6)
    count = split(canon, part, ",")
    for (i = 1; i <= count + 1; i++) {
      if (i > count) { hole[2] = size; hole[3] = 0 }
      else if (part[i] !~ /^h:[0-9]+:[0-9]+$/) continue
      else split(part[i], hole, ":")
      if (hole[2] > at) pieces = pieces (pieces == "" ? "" : ",") \
        sprintf("%.0f+%.0f+%.0f", at, int((hole[2] - at) / 1048576), (hole[2] - at) % 1048576)
      at = hole[2] + hole[3]
    }
    task("spread", "spread " size " " (pieces == "" ? "0+0+0" : pieces), p)
  }

  # How many bytes of a file are written: holes that the archive has are filled.
  function stored(   size, count, part, i, hole) {
    size = substr($7, 6) + 0
    if (local !~ /,k,/) return size
    count = split(canon, part, ",")
    for (i = 1; i <= count; i++) if (part[i] ~ /^h:[0-9]+:[0-9]+$/) {
      split(part[i], hole, ":")
      size -= hole[3]
    }
    return size
  }
  # What the contents are compared with, where nothing vouches for the archive. Holes that go beyond all measure are not
  # read. (Without a tar, all but files with holes that were left out are compared as they are fetched.)
  function digest(bytes) {
    if (reader == "none" && local !~ /,k,/) return "-"
    if (substr($7, 6) + 0 > 68719476736 && substr($7, 6) + 0 > bytes * 32) return "not"
    return substr($9, 8)
  }

  function attributes(step, p, canon,   count, i, part, tag, value) {
    count = split(canon, part, ",")
    for (i = 1; i <= count; i++) if (part[i] ~ /^x:/) {
      split(part[i], tag, ":")
      if (!superuser && tag[2] !~ /^(user|system)\./) continue
      value = tag[3]
      while (length(value) % 4) value = value "="
      print "!with\n" field("./" p) "\n" field(tag[2]) "\n=" (value == "" ? "" : "0s") value >step
    }
  }
  # Owner, attributes, mode and time, where the archive does not bring them or brings others.
  function describe(step, p, kind, uid, gid, mode, time, canon) {
    uid = substr(uid, 5); gid = substr(gid, 5); time = substr(time, 6); mode = plain_mode(mode)
    if (superuser) task(step ".owner", "own " uid ":" gid, p)
    attributes(step ".attributes", p, canon)
    if (kind != "link") set_mode(step, p, uid, gid, mode)
    task(step ".time", "stamp " stamp(time), p)
  }
  # Or an entry of a tar that is made here: it brings owner, mode and time of any number of paths with one command,
  # where touch would be started for every time. A byte 1 stands for 0, which not every awk can write.
  function entry(step, type, p, uid, gid, mode, time, canon, target,   records) {
    uid = substr(uid, 5); gid = substr(gid, 5); time = substr(time, 6); mode = plain_mode(mode)
    if (reader == "none" || time ~ /^-/ || canon ~ /(^|,)x:/ || length(p target) > 3000) return 0
    if (index(p target, "\\001") || (type == 5 && mode !~ /7..$/)) return 0
    if (type == 2) mode = 777
    if (length(mode) > 3) set_mode(step, p, uid, gid, mode)
    mode = substr(mode, length(mode) > 3 ? 2 : 1)
    records = record("hdrcharset", "BINARY") record("path", "./" decoded(p)) record("mtime", time)
    records = records record("uid", uid) record("gid", gid)
    if (type == 2) records = records record("linkpath", decoded(target))
    printf "%s%s%s%s", header("x", 600, length(records)), records,
      substr(zeros, 1, (512 - length(records) % 512) % 512), header(type, mode, 0) >(step ".tar")
    return 1
  }
  # The extended header of pax(1): each record begins with its own length.
  function record(key, value,   size) {
    size = length(key) + length(value) + 3
    while (length(size) + length(key) + length(value) + 3 > size) size++
    return size " " key "=" value "\n"
  }
  function header(type, mode, size,   text, sum, i) {
    if ((type, mode, size) in headers) return headers[type, mode, size]
    text = sprintf("%07d\001%07d\001%07d\001%011o\001%011o\001", mode, 0, 0, size, 0)
    # Its bytes 1 count as 0, the checksum itself as eight spaces; then `ustar00` and two times `x`, for names that
    # stand in the records.
    for (i = 1; i <= length(text); i++) if (substr(text, i, 1) != "\001") sum += 48 + substr(text, i, 1)
    sum += 8 * 32 + 559 + 96 + 240 + (type == "x" ? 120 : 48 + type)
    return headers[type, mode, size] = "x" substr(zeros, 1, 99) text sprintf("%06o\001 ", sum) type \
      "x" substr(zeros, 1, 99) "ustar\00100" substr(zeros, 1, 247)
  }
  function plain_mode(mode) {
    mode = substr(mode, 6)
    sub(/^0+/, "", mode)
    return mode == "" ? "0" : length(mode) > 4 ? substr(mode, length(mode) - 3) : mode
  }
  # setuid and setgid go on only where owner and group are as saved, see `special`.
  function set_mode(step, p, uid, gid, mode) {
    if (length(mode) > 3) task(step ".mode", "special 0" mode " " uid ":" gid, p)
    else task(step ".mode", "change_mode 0" mode, p)
  }

  FILENAME == "top" {
    read_line()
    describe("top", "", "dir", $4, $5, $6, $7, canon)
    next
  }
  {
    read_line()
    for (at = parent(p); at != "" && !(at in implied); at = parent(at)) implied[at] = 1
    if (kind == "dir") { directory[p] = $4 " " $5 " " $6 " " $7 " " canon; next }
    if (!index(p, "/")) task("tops", "uncover", p)
    if (first != "" || p in is_first) {
      face = ""
      for (i = 3; i < NF; i++) face = face $i " "
      face = face canon
      if (first == "") face_of[p] = face
    }
    if (kind == "link") is_link[p] = 1
    # Names of an inode come when all first names are known.
    if (first != "") { waiting[++waits] = $0; its_face[waits] = face; next }
    make()
  }
  # Uses what was just taken out of the line.
  function make(   name, like, i, target, device, other) {
    if (kind == "file" && key != "") {
      split(key, part, " ")
      if (!(part[1] in have)) { print $2 >("lost." part[1]); return }
      if (part[1] == id[n] && first == "" && local !~ /,m,/) {
        name = p
        like = 1
      } else if (key in found) {
        name = found[key]
        like = (found_like[key] == ($4 $5 $6 $8 " " (canon == "" ? "-" : canon)))
        if (key in taken) {
          print "!copy\n" field("./" taken[key]) "\n" field("./" p) >"copies"
          like = 0
          name = ""
        } else taken[key] = p
      } else if (part[1] == id[n] && local !~ /,m,/) {
        # It was another name of a file that has changed since, and is stored by itself.
        name = p
        like = 0
      } else { print $2 >"lost"; return }
      bytes = stored()
      total += bytes
      if (name != "") {
        print key, name, p, digest(bytes) >"contents"
        if (reader == "none") extents()
      }
      if (like && reader == "bsd" && ($8 ~ /=-.*[.]0*[1-9]/ || canon ~ /%|\\075/)) like = 0
      if (like && reader != "none") {
        # What was unpacked has lost these bits.
        if ($6 ~ /=0*[1-7][0-7][0-7][0-7]$/) set_mode("files", p, substr($4, 5), substr($5, 5), plain_mode($6))
      } else {
        if (reader != "none") task("files.bare", "bare", p)
        describe("files", p, kind, $4, $5, $6, $8, canon)
      }
      return
    }
    if (kind == "file") {
      if ($7 != "size=0") { print $2 >"lost"; return }
      if (entry("files", 0, p, $4, $5, $6, $8, canon)) return
      task("files", "make_empty", p)
      describe("files", p, kind, $4, $5, $6, $8, canon)
    } else if (kind == "fifo") {
      task("files", "make_fifo", p)
      describe("files", p, kind, $4, $5, $6, $7, canon)
    } else if (kind == "char" || kind == "block") {
      if (!superuser) { print $2 >"lost"; return }
      split($8, part, ",")
      task("files", "make_device " substr(kind, 1, 1) " " part[2] " " part[3], p)
      describe("files", p, kind, $4, $5, $6, $7, canon)
    } else if (!entry("links", 2, p, $4, $5, $6, $7, canon, substr($8, 6))) {
      print "!make_link\n" field("./" p) "\n" field(substr($8, 6)) >"links"
      describe("links", p, kind, $4, $5, $6, $7, canon)
    }
  }
  # The order of the work: how deep a path lies.
  function depth(p) { return gsub(/\//, "/", p) }
  END {
    for (w = 1; w <= waits; w++) {
      $0 = waiting[w]
      read_line()
      face = its_face[w]
      if (!(first in face_of) || face_of[first] != face) {
        # The first name is not here, or is something newer by now: last good copies are names of each other then.
        if (!((first, face) in copy)) {
          copy[first, face] = p
          make()
          continue
        }
        first = copy[first, face]
      }
      print "!join\n" field("./" first) "\n" field("./" p) >(kind == "link" ? "links.joined" : "joined")
    }
    for (p in is_link) if (p in implied || p in directory) { print p >"clash"; exit }
    printf "%.0f\n", total / 1024 >"total"
    for (p in implied) if (p != "" && !(p in directory)) directory[p] = ""
    for (p in directory) {
      d = depth(p)
      if (d > deepest) deepest = d
      list[d, ++count[d]] = p
    }
    for (d = 0; d <= deepest; d++) for (i = 1; i <= count[d]; i++) {
      p = list[d, i]
      task("directories", "make_directory", p)
      if (!d) task("tops", "uncover", p)
    }
    # The outermost last, since one may be closed to its owner.
    for (d = deepest; d >= 0; d--) for (i = 1; i <= count[d]; i++) {
      p = list[d, i]
      if (directory[p] == "") continue
      split(directory[p], part, " ")
      if (!entry("within", 5, p, part[1], part[2], part[3], part[4], part[5]))
        describe("within", p, "dir", part[1], part[2], part[3], part[4], part[5])
    }
  }
' top tree) || [ -s "$tmp/clash" ] || die 1 "cannot plan the work"
[ ! -s "$tmp/clash" ] || die 4 "a manifest is damaged: something lies below a symbolic link: $(cat "$tmp/clash")"
# --- Is everything there, and whole? ---

# The sets whose archives are read; all of the chain, where all of the point is wanted.
if [ -s "$tmp/asked" ]; then
  cut -d ' ' -f 1 <"$tmp/contents" | sort -u | while read -r id; do
    awk -v id="$id" '$1 == id { print $2; exit }' "$tmp/have"
  done >"$tmp/needed"
else
  cut -d ' ' -f 2 <"$tmp/have" | sort -u >"$tmp/needed"
fi
: >"$tmp/absent"
while read -r set; do
  there=
  [ -s "$tmp/volumes.$set" ] || die 4 "$set.mtree.gz is damaged: it names no archive"
  while read -r name size digest rest; do
    if [ ! -f "$dir/$name" ]; then
      say "an archive is missing: $name is not in $dir"
      : >"$tmp/damage"
      [ "$check" ] || continue
      say "what lies in others comes back: give PATHs that do not need it, or --no-check for all that is left"
      say_older "${set%%Z-*}Z"
      exit 1
    fi
    there=yes
    # shellcheck disable=SC2012
    found=$(ls -lnL "$dir/$name" | awk '{ print $5; exit }')
    [ "$found" = "$size" ] && continue
    damage="$name is damaged: it has $found bytes and should have $size"
    [ -z "$check" ] || die 4 "$damage (--no-check restores what can be restored)"
    say "$damage"
    : >"$tmp/damage"
  done <"$tmp/volumes.$set"
  [ "$there" ] || echo "$set" >>"$tmp/absent"
done <"$tmp/needed"

if [ -d "$to" ]; then
  # What a new file system has in it by itself may stay.
  if [ -d "$to/lost+found" ] && [ ! -L "$to/lost+found" ]; then given='lost+found'; else given=; fi
  [ "$(ls -A "$to")" = "$given" ] || die 1 "$to is not empty"
elif [ -e "$to" ] || [ -L "$to" ]; then
  die 1 "$to is not a directory"
fi

# Room for it, where the file system says how much it has. (Blocks and folders are not counted.)
if [ -z "$force" ]; then
  place=$to
  while [ ! -d "$place" ]; do place=$(dirname -- "$place"); done
  lacking=$(df -Pk -- "$place" 2>/dev/null | awk -v total="$(cat "$tmp/total")" '
    function shown(size) {
      return size < 900000 ? sprintf("%.1f MB", size / 976.5625) : sprintf("%.1f GB", size / 976562.5)
    }
    # (The name of a file system may be of any words.)
    NR > 1 && match($0, / [0-9]+ +[0-9]+ +-?[0-9]+ +[0-9]+% /) {
      split(substr($0, RSTART, RLENGTH), part, " ")
      if (part[1] > 0 && total + 0 > part[3] + 0)
        print shown(total - part[3]) " are missing, " shown(total) " come and " shown(part[3]) " are free"
      exit
    }')
  [ -z "$lacking" ] || die 1 "no room for all of it in $to: $lacking (give PATHs, or --force)"
fi

if [ "$sums" = no ]; then
  if [ "$reader" = none ]; then say "note: sha256sum is not installed, so damage is not found"
  else say "note: sha256sum is not installed, so damage is found only where gzip notices it"; fi
elif [ "$check" ]; then
  for set in $chain; do
    read -r digest <"$tmp/end.$set"
    found=$(manifest "$set" | sed '$d' | sum)
    [ "${found%% *}" = "$digest" ] || die 4 "$set.mtree.gz is damaged: its digest does not match"
  done
  while read -r set; do
    echo "checking $set"
    while read -r name size digest rest; do
      found=$(sum <"$dir/$name")
      [ "${found%% *}" = "$digest" ] ||
        die 4 "$name is damaged: its digest does not match (--no-check restores what can be restored)"
    done <"$tmp/volumes.$set"
  done <"$tmp/needed"
fi

[ "$superuser" ] || say "note: not run by root, so owners, devices and system attributes cannot be restored"
problems=
for lost in "$tmp"/lost.*; do
  [ -f "$lost" ] || continue
  say "$(wc -l <"$lost" | tr -d ' ') files lie in an older set (${lost##*.}) that is not here; they will be missing:"
  head -n 20 "$lost" >&2
  problems=yes
done
if [ -s "$tmp/lost" ]; then
  say "$(wc -l <"$tmp/lost" | tr -d ' ') files cannot be restored:"
  head -n 20 "$tmp/lost" >&2
  problems=yes
fi

# --- Restoring ---

{ (umask "$users_mask" && mkdir -p "$to") && cd -P "$to"; } || die 1 "cannot make $to"
root=$PWD
# Nobody else comes in until all is done.
# shellcheck disable=SC2012
mode=$(ls -ld . | awk '{
  for (i = 2; i <= 10; i++) {
    c = substr($1, i, 1)
    bits = bits (c != "-" && c != "S" && c != "T" ? 1 : 0)
    special = special (i % 3 == 1 ? (c ~ /[sStT]/ ? 1 : 0) : "")
  }
  bits = special bits
  for (i = 1; i <= 12; i += 3)
    out = out (substr(bits, i, 1) * 4 + substr(bits, i + 1, 1) * 2 + substr(bits, i + 2, 1))
  print "0" out
}')
chmod 00700 . || die 1 "$to is not yours"
work=$(mktemp -d "$root/.sheaf.XXXXXX") || die 1 "cannot make a directory in $to"
# What is made in it inherits nothing of the target.
chmod 00700 "$work"
without_defaults() {
  if have setfacl; then setfacl -k "$1"
  elif have setfattr; then setfattr -x system.posix_acl_default "$1"; fi 2>/dev/null
}
without_defaults "$work"
tree=$work/tree
{ mkdir "$tree" && cd "$tree"; } || die 1 "cannot make a directory in $to"

problem() { : >"$tmp/problem"; }
damage() { : >"$tmp/damage"; problem; }
# What the plan is made of. All of it happens in the tree, where no symbolic link is until all files are there, and none
# above another path ever.
lost() { problem; say "could not be restored: ${1#./}"; }
absent() { [ ! -e "$1" ] && [ ! -L "$1" ]; }
make_directory() { mkdir -- "$@" || die 1 "cannot make all directories"; }
make_empty() { for file; do if absent "$file" && : >"$file"; then :; else lost "$file"; fi; done; }
make_fifo() { for file; do if absent "$file" && mkfifo -- "$file"; then :; else lost "$file"; fi; done; }
make_device() {
  what=$1 major=$2 minor=$3
  shift 3
  for file; do if absent "$file" && mknod -- "$file" "$what" "$major" "$minor"; then :; else lost "$file"; fi; done
}
make_link() { if absent "$1" && ln -s -- "$2" "$1"; then :; else lost "$1"; fi; }
# shellcheck disable=SC2086
join() {
  if { [ -f "$1" ] || [ -p "$1" ] || [ -L "$1" ] || [ -c "$1" ] || [ -b "$1" ]; } && absent "$2" &&
    ln $physical -- "$1" "$2"; then :; else lost "$2"; fi
}
copy() { if [ -f "$1" ] && [ ! -L "$1" ] && absent "$2" && cp -- "$1" "$2"; then :; else lost "$2"; fi; }
uncover() {
  for file; do
    if absent "$file"; then continue; fi
    mv -- "$file" "$root/" || lost "$file"
  done
}
own() { owner=$1; shift; chown -h "$owner" -- "$@" || problem; }
change_mode() { bits=$1; shift; chmod "$bits" -- "$@" || problem; }
special() {
  bits=$1 owner=$2
  shift 2
  for file; do
    # shellcheck disable=SC2012
    if [ "$(ls -lnd -- "$file" | awk 'NR == 1 { print $3 ":" $4 }')" != "$owner" ]; then
      # Whoever else has it now shall not lend it these rights. The sticky bit lends none.
      case $bits in 0[1357]???) bits=01${bits#??} ;; *) bits=00${bits#??} ;; esac
    fi
    chmod "$bits" -- "$file" || problem
  done
}
stamp() {
  time=$1
  shift
  # (The last second before 1970 is an error to the touch of busybox.)
  if [ "$times" = calendar ]; then touch -h -t "$time" -- "$@"
  elif [ "$times:$time" = seconds:@-1 ]; then touch -h -d @0 -- "$@"
  else touch -h -d "$time" -- "$@"; fi || problem
}
have_attributes() {
  have setfattr && return
  [ -f "$tmp/no-setfattr" ] ||
    say "note: setfattr is not installed, so some extended attributes and ACLs are not as they were saved"
  : >"$tmp/no-setfattr"
  return 1
}
with() {
  if [ -f "$tmp/problem" ] && absent "$1"; then return; fi
  have_attributes && { setfattr -h -n "$2" -v "$3" -- "$1" || problem; }
}
# Takes all attributes from files; getfattr shows odd bytes of their names in octal.
bare() {
  for file; do
    chmod u+rw -- "$file"
    have getfattr || continue
    getfattr -h -m - -- "$file" 2>/dev/null |
      sed '/^# file: /d; /^$/d; /^security\.\(selinux\|ima\|evm\)$/d; s/%/%%/g' |
      while IFS= read -r attribute; do
        # shellcheck disable=SC2059
        setfattr -h -x "$(printf "$attribute")" -- "$file" 2>/dev/null || setfacl -b -- "$file" || problem
      done
  done
}
# Moves files of one directory of what was unpacked to their places.
put() {
  from=$unpacked/$1 into=$tree/$2
  shift 2
  if [ ! -d "$into" ] || [ -L "$into" ] || ! cd "$from" 2>/dev/null; then
    for name; do lost "${into#"$tree/"}/$name"; done
    return
  fi
  missing=
  for name; do if [ ! -f "$name" ] || [ -e "$into/$name" ] || [ -L "$into/$name" ]; then missing=yes; fi; done
  # (Putting the names together anew takes longer than all else, so this is done only where it has to be.)
  if [ -n "$missing" ]; then
    left=$#
    while [ "$left" -gt 0 ]; do
      name=$1
      shift
      left=$((left - 1))
      if [ -f "$name" ] && absent "$into/$name"; then set -- "$@" "$name"; else lost "${into#"$tree/"}/$name"; fi
    done
  fi
  [ $# -eq 0 ] || mv -- "$@" "$into/" || problem
  cd "$tree" || exit 1
}
# Compares files with their digests, of which there are as many with a comma behind each. (One command for all of them
# tells whether they are right, whatever is in their names; one for each, which are not.)
compare() {
  digests=$1
  shift
  if [ "$(sum -- "$@" 2>/dev/null | sed 's/^\\//; s/ .*//')" = "$(printf '%s' "${digests%,}" | tr , '\n')" ]; then
    return
  fi
  for file; do
    digest=${digests%%,*} digests=${digests#*,}
    # (What is not there was said.)
    if [ ! -f "$file" ] || [ -L "$file" ]; then continue; fi
    closed=
    [ -r "$file" ] || { closed=yes; chmod u+r -- "$file"; }
    found=$(sum <"$file")
    if [ "${found%% *}" != "$digest" ]; then wrong "$file"
    elif [ "$closed" ]; then chmod u-r -- "$file"; fi
  done
}
# (Where the archives were found whole it may be that the target is full.)
wrong() {
  rm -f -- "$1"
  if [ -n "$check" ] && [ ! -f "$tmp/damage" ]; then
    lost "$1"
  else
    damage
    say "damaged, and removed: ${1#./}"
  fi
}
unproved() {
  for file; do
    if absent "$file"; then continue; fi
    damage
    say "may be damaged, and was not compared: ${file#./}"
  done
}
put_as() { if [ -f "$unpacked/$1" ] && absent "$2" && mv -- "$unpacked/$1" "$2"; then :; else lost "$2"; fi; }
# The same for a path that is too long to be named at once: all but its last name is gone through.
far() {
  (
    for way; do :; done
    while [ "$way" != "${way#*/}" ]; do
      if [ -L "./${way%%/*}" ] || ! cd "./${way%%/*}"; then exit 1; fi
      way=${way#*/}
    done
    case $1 in
    own | change_mode | stamp) "$1" "$2" "./$way" ;;
    special) "$1" "$2" "$3" "./$way" ;;
    make_directory | make_empty | make_fifo) "$1" "./$way" ;;
    *) lost "$way" ;;
    esac
  ) || problem
}

# Does what the plan says.
# shellcheck disable=SC2086,SC2059
follow() {
  [ -s "$1" ] || return 0
  if [ -f "$tmp/problem" ]; then gone=yes; else gone=; fi
  act=
  set -- "$1"
  while IFS= read -r line; do
    case $line in
    !*)
      shift
      [ $# -eq 0 ] || $act "$@"
      act=${line#?}
      set -- plan
      ;;
    *)
      case $line in
      =*) text=${line#?} ;;
      *) text=$(printf "${line#?}.") && text=${text%.} ;;
      esac
      # What was damaged or missing, and said to be, is not there.
      case $gone$act in yesspread* | yesown* | yesbare* | yeschange_mode* | yesspecial* | yesstamp*)
        if absent "$text"; then continue; fi
        ;;
      esac
      set -- "$@" "$text"
      ;;
    esac
  done <"$1"
  shift
  [ $# -eq 0 ] || $act "$@"
}
# Puts tasks of a kind that follow each other together, as many as a command may take.
gather() {
  [ -s "$tmp/$1" ] || return 0
  if [ "${2:-}" = sorted ]; then sort -s -t "$(printf '\t')" -k 1,1 "$tmp/$1"; else cat "$tmp/$1"; fi | awk '
    {
      at = index($0, "\t")
      what = substr($0, 1, at - 1)
      field = substr($0, at + 1)
      length_ = length(field)
      if (length_ > 3000) { print "!far " what "\n" field; last = ""; next }
      if (what != last || count == 200 || size > 30000) { print "!" what; last = what; count = size = 0 }
      print field
      count++
      size += length_
    }' >"$tmp/gathered"
  follow "$tmp/gathered"
}
# Unpacks entries that were made here, where all that is above them is known to be a directory.
bring() {
  [ -s "$tmp/$1.tar" ] || return 0
  tr '\001' '\000' <"$tmp/$1.tar" | {
    case $1 in within) set -- ;; *) set -- -k ;; esac
    case $reader in
    gnu) $tar -x -p --numeric-owner --warning=no-unknown-keyword --warning=no-timestamp "$@" -f - ;;
    *) $tar -x -p --numeric-owner "$@" -f - ;;
    esac
  } || problem
}
archive() {
  while read -r name rest; do
    case $name in *.age) opened "$dir/$name" || return ;; *) cat "$dir/$name" || return ;; esac
  done <"$tmp/volumes.$1"
}

# Where the archives were not compared first. (gzip passes over zeros that begin where a member could, and says nothing.)
altered() {
  [ -z "$check" ] && [ "$sums" != no ] || return 1
  while read -r name size digest rest; do
    found=$(sum <"$dir/$name")
    [ "${found%% *}" = "$digest" ] || return 0
  done <"$tmp/volumes.$1"
  return 1
}
suspect() {
  damage
  rm -f "$tmp/broken"
  : >"$tmp/suspect"
  : >"$tmp/goes-on"
}

# Unpacks what is wanted of a set into an empty directory, and takes from that whatever is no plain file of one name.
unpack() {
  unpacked=$work/unpacked
  mkdir "$unpacked" && without_defaults "$unpacked"
  # bsdtar reads other things than tar, too; one of them is a text that tells it to copy files from elsewhere.
  if [ "$reader" = bsd ] && ! { archive "$1" | gzip -dc | head -c 512 | tr '\000' '\001'; } 2>/dev/null |
    awk 'NR == 1 { binary = !/^#/ && gsub(/\001/, "") > 200 } END { exit !binary }'; then
    say "$1: the archive does not begin as one does"
    damage
    return
  fi
  {
    { archive "$1" || : >"$tmp/broken"; } | { gzip -dc || : >"$tmp/broken"; } | {
      cd "$unpacked" || exit 1
      # All of it where the names would be options, or so many that bsdtar is slower with them.
      if [ -f "$tmp/unpack-all" ] || { [ "$reader" = bsd ] && [ "$(wc -l <"$tmp/names")" -gt 500 ]; }; then set --
      elif [ "$reader" = gnu ]; then set -- --no-recursion --no-wildcards --preserve-order -T "$tmp/names"
      else set -- -T "$tmp/names"; fi
      case $reader$superuser in
      gnuyes) $tar -x -p --xattrs --xattrs-include='*' --acls --numeric-owner --warning=no-timestamp -f - "$@" ;;
      gnu) $tar -x -p --xattrs --xattrs-include='user.*' --acls --warning=no-timestamp -f - "$@" ;;
      *) $tar -x -p -U --numeric-owner --acls --xattrs -f - "$@" ;;
      esac
      failed=$?
      cat >/dev/null
      exit "$failed"
    }
  } 2>"$tmp/said"
  failed=$?
  if [ -s "$tmp/said" ]; then
    grep -v -e ': not found in archive$' -e '^age: report ' "$tmp/said" | head -n 50 |
      tr '\001-\011\013-\037\177-\377' '?' >&2
  fi
  if [ -f "$tmp/broken" ]; then
    say "$1: the archive cannot be read to its end"
    suspect
  elif { [ "$failed" -ne 0 ] || [ -f "$tmp/unpack-all" ]; } && altered "$1"; then
    say "$1: the archive is damaged: its digest does not match"
    suspect
  elif [ "$failed" -ne 0 ]; then
    say "$1: not everything could be unpacked"
    problem
    : >"$tmp/suspect"
  fi
  # (Directories first, so that all can be looked into.)
  {
    find "$unpacked" -type d ! -perm -700 -exec chmod u+rwx {} \; &&
      find "$unpacked" ! -type d ! -type f -exec rm -f -- {} + &&
      find "$unpacked" -type f -links +1 -exec rm -f -- {} + &&
      find "$unpacked" -type f \( -perm -4000 -o -perm -2000 \) -exec chmod ug-s -- {} +
  } || die 1 "cannot look through what was unpacked in $to"
}

# What the programs below have in common: how a path is told to `follow`, which takes what is behind `=` as it is, and
# what is behind a backslash through printf.
# shellcheck disable=SC2016
fields='
  BEGIN { for (i = 1; i < 256; i++) byte[sprintf("%03o", i)] = sprintf("%c", i) }
  function field(text,   part, count, i, out) {
    if (index(text, "\\012")) {
      gsub(/%/, "%%", text)
      return "\\" text
    }
    count = split(text, part, /\\/)
    out = part[1]
    for (i = 2; i <= count; i++) out = out byte[substr(part[i], 1, 3)] substr(part[i], 4)
    return "=" out
  }
'

# The files of set ID, each with its digest.
plan_comparing() {
  awk -v id="$1" '$1 == id { print $6, $5 }' "$tmp/contents" | awk -v sums="$sums" "$fields"'
    function flush() {
      if (digests != "") print "!compare " digests
      printf "%s", fields
      digests = fields = ""
      count = 0
    }
    $1 == "-" && sums != "no" { next }
    $1 == "not" || sums == "no" {
      flush()
      print "!unproved\n" field("./" $2)
      next
    }
    {
      digests = digests $1 ","
      fields = fields field("./" $2) "\n"
      if (++count == 100 || length(fields) > 30000) flush()
    }
    END { flush() }' >>"$tmp/compare"
}

# What is wanted of set ID, in the order of its archive: the names, as tar takes them, and where they go.
plan_unpacking() {
  awk -v id="$1" '$1 == id' "$tmp/contents" | sort -k 2,2n -k 3,3n | (cd "$tmp" && awk -v reader="$reader" "$fields"'
    function parent(p) { return match(p, "/[^/]*$") ? substr(p, 1, RSTART - 1) : "." }
    function base(p) { return match(p, "/[^/]*$") ? substr(p, RSTART + 1) : p }
    {
      name = $4
      # (A line that begins with a dash would be an option, and what follows a space in it another: then all of it.)
      if (name ~ /^-/) print "yes" >"unpack-all"
      # As a pattern.
      if (reader != "gnu") gsub(/\\[0-7][0-7][0-7]/, "?", name)
      print name >"names"
      if (base($4) != base($5)) { print "!put_as\n" field($4) "\n" field("./" $5) >"places"; last = ""; next }
      where = parent($4) " " parent($5)
      if (where != last || count == 200 || size > 30000) {
        print "!put\n" field("./" parent($4)) "\n" field("./" parent($5)) >"places"
        last = where
        count = size = 0
      }
      print field(base($4)) >"places"
      count++
      size += length(where) + length($4)
    }')
}

# Without a tar that can be trusted: the bytes of each file, from where the manifest says they lie. `extents` has, of
# each extent: set, place of its gzip member, place in the inflated member, length, which extent of the file it is, the
# path, and with the last one the digest.
plan_fetching() {
  awk -v id="$1" '$1 == id' "$tmp/extents" | sort -k 2,2n -k 3,3n | (cd "$tmp" && awk -v volumes="volumes.$2" "$fields"'
    BEGIN {
      while ((getline line <volumes) > 0) {
        split(line, part, " ")
        size_of[++count] = part[2]
        if (part[1] ~ /\.age$/) sealed = 1
      }
    }
    function mebibytes(bytes) { return sprintf("%.0f %.0f", int(bytes / 1048576), bytes % 1048576) }
    {
      if ($2 != member || !files) {
        if (files) close("fetch." files)
        member = $2
        at = 0
        offset = $2
        # What is encrypted is read from its beginning, once.
        if (sealed) {
          print files++, mebibytes(offset - before) >"passes"
          before = offset
        } else {
          for (v = 1; v < count && offset >= size_of[v]; v++) offset -= size_of[v]
          print ++files, v, mebibytes(offset) >"fetches"
        }
      }
      print "!fetch " mebibytes($3 > at ? $3 - at : 0) " " mebibytes($4) " " $5 " " $7 >("fetch." files)
      print field("./" $6) >("fetch." files)
      at = $3 + $4
    }
    END { if (sealed) print files, "rest" >"passes" }')
}
# exactly MIB BYTES: so much of what comes in goes out, and nothing more is read.
exactly() {
  [ "$1" = 0 ] || dd bs=1048576 count="$1" iflag=fullblock 2>/dev/null
  [ "$2" = 0 ] || dd bs="$2" count=1 iflag=fullblock 2>/dev/null
}
fetch() {
  exactly "$1" "$2" <&3 >/dev/null
  if { [ "$5" = 1 ] && ! absent "$7"; } || { [ "$5" != 1 ] && [ ! -f "$7" ]; }; then
    exactly "$3" "$4" <&3 >/dev/null
    lost "$7"
    return
  fi
  exactly "$3" "$4" <&3 >>"$7" || { rm -f -- "$7"; lost "$7"; return; }
  if [ "$6" = - ] || [ "$sums" = no ]; then return; fi
  found=$(sum <"$7")
  [ "${found%% *}" = "$6" ] || wrong "$7"
}
# The bytes up to where the next one begins, of which those before the first are for nobody. All of what comes in is read,
# so that what follows begins at its place.
pass_all() {
  { archive "$1" || : >"$tmp/broken"; } | {
    exec 4<&0
    while read -r number big small; do
      if [ "$big" = rest ]; then cat; else exactly "$big" "$small"; fi <&4 | {
        if [ "$number" = 0 ]; then cat >/dev/null; else
          gzip -dc 2>/dev/null | {
            exec 3<&0
            follow "$tmp/fetch.$number"
            cat >/dev/null
          }
        fi
      }
      rm -f "$tmp/fetch.$number"
    done <"$tmp/passes"
  }
  [ ! -f "$tmp/broken" ] || { say "$1: the archive cannot be read to its end"; suspect; }
}
fetch_all() {
  while read -r number volume big small; do
    tail -n "+$volume" "$tmp/volumes.$1" | {
      read -r name rest
      {
        [ "$big" = 0 ] || dd bs=1048576 skip="$big" count=0 2>/dev/null
        exactly 0 "$small" >/dev/null
        cat
      } <"$dir/$name"
      while read -r name rest; do cat "$dir/$name" || exit; done
    } 2>/dev/null | gzip -dc 2>/dev/null | {
      exec 3<&0
      follow "$tmp/fetch.$number"
    }
    rm -f "$tmp/fetch.$number"
  done <"$tmp/fetches"
}
# Puts the holes back that were left out: SIZE, then where each piece of data goes and how long it is.
spread() {
  if ! have truncate || ! mv -- "$3" "$work/stored" || ! : >"$3"; then lost "$3"; return; fi
  {
    for piece in $(printf '%s' "$2" | tr , ' '); do
      at=${piece%%+*} piece=${piece#*+}
      truncate -s "$at" -- "$3"
      exactly "${piece%+*}" "${piece#*+}" >>"$3"
    done
  } <"$work/stored"
  truncate -s "$1" -- "$3" || lost "$3"
  rm -f "$work/stored"
}

echo "restoring $target"
gather directories
if [ -s "$tmp/contents" ]; then
  cut -d ' ' -f 1 <"$tmp/contents" | sort -u >"$tmp/archives"
  while read -r id; do
    set=$(awk -v id="$id" '$1 == id { print $2; exit }' "$tmp/have")
    rm -f "$tmp/names" "$tmp/places" "$tmp/fetches" "$tmp/passes" "$tmp/unpack-all"
    if grep -qxF "$set" "$tmp/absent"; then
      # Each file is named, as if nothing had been unpacked.
      unpacked=$work/unpacked
      plan_unpacking "$id"
      follow "$tmp/places"
      continue
    fi
    echo "reading $set"
    if [ "$reader" = none ]; then
      plan_fetching "$id" "$set"
      if [ -f "$tmp/passes" ]; then pass_all "$set"; else fetch_all "$set"; fi
    else
      plan_unpacking "$id"
      unpack "$set"
      follow "$tmp/places"
      rm -rf -- "$unpacked"
    fi
    if [ -f "$tmp/suspect" ] || { [ -z "$check" ] && [ "$sums" = yes ]; }; then plan_comparing "$id"; fi
    rm -f "$tmp/suspect"
  done <"$tmp/archives"
fi
gather spread
follow "$tmp/compare"
follow "$tmp/copies"
bring files
gather files
follow "$tmp/joined"
gather files.owner sorted
gather files.bare
follow "$tmp/files.attributes"
gather files.mode sorted
gather files.time sorted
bring links
follow "$tmp/links"
follow "$tmp/links.joined"
gather links.owner sorted
follow "$tmp/links.attributes"
gather links.time sorted
gather tops
cd "$root" || exit 1
bring within
gather within.owner sorted
follow "$tmp/within.attributes"
gather within.time sorted
gather within.mode
if [ -s "$tmp/top" ]; then
  rm -rf -- "$work"
  gather top.owner
  follow "$tmp/top.attributes"
  gather top.mode
  gather top.time
  work='' mode=''
fi

[ ! -f "$tmp/problem" ] || problems=yes
if [ -f "$tmp/damage" ]; then
  if [ -n "$problems" ]; then say "$target is restored in $to, but there is damage: see above"
  else say "all of $target is restored in $to, but there is damage: see above"; fi
  [ "$reader" = none ] || [ ! -f "$tmp/goes-on" ] ||
    say "what lies behind it in an archive may come back into another DIR with TAR=none"
  exit 4
elif [ -n "$problems" ]; then
  say "$target is restored in $to, but not all of it: see above"
  exit 3
fi
echo "restored $target in $to"
