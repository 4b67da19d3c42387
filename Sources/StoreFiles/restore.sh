#!/bin/sh
# Restores a point of a Sheaf store without Sheaf: sh, awk, tar and gzip are enough.
#
#   sh restore.sh [--series NAME] [--at POINT] --to DIR [--no-check]
#
# POINT is a set's name, a date (2026-11-24) or the beginning of a time in UTC (2026-11-24T06): the newest set
# not after its end is taken; without --at the newest of all. DIR must be empty or new. --no-check skips the check
# of the archives' digests. The variable TAR names the tar to use: GNU tar, bsdtar or busybox (TAR="busybox tar").
#
# How it works: a set is an archive and a manifest, a text with a line for each file. A full set is unpacked as it
# is. Before each later one, what its manifest says was renamed is renamed, and everything goes away that it says was
# deleted or has become something else.
# At the end directories get what tar could not give them. Nothing is ever done through a symbolic link: an
# archive that tries is refused.
#
# Ends with 0: all is there; 1: failed; 3: some of it could not be restored; 4: damage was found; 64: wrong usage.
set -u
unset CDPATH
LC_ALL=C
export LC_ALL

say() { printf '%s\n' "restore.sh: $*" | tr '\001-\011\013-\037\177-\377' '?' >&2; }
die() { status=$1; shift; say "$*"; exit "$status"; }
usage() { die 64 "$1 (usage: sh restore.sh [--series NAME] [--at POINT] --to DIR [--no-check])"; }
have() { command -v "$1" >/dev/null 2>&1; }

series='' at=latest to='' check=yes
while [ $# -gt 0 ]; do
  case $1 in
  --series | --at | --to) [ $# -gt 1 ] || usage "$1 needs a value" ;;
  esac
  case $1 in
  --series) series=$2; shift ;;
  --series=*) series=${1#*=} ;;
  --at) at=$2; shift ;;
  --at=*) at=${1#*=} ;;
  --to) to=$2; shift ;;
  --to=*) to=${1#*=} ;;
  --no-check) check= ;;
  -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p; /^set/q' "$0"; exit 0 ;;
  *) usage "unknown argument $1" ;;
  esac
  shift
done
[ -n "$to" ] || usage "--to is missing"
case $to in /*) ;; *) to=$PWD/$to ;; esac

# --- Tools ---

tmp=$(mktemp -d "${TMPDIR:-/tmp}/sheaf.XXXXXX") || die 1 "cannot make a directory for temporary files"
root='' mode='' stage=''
clean_up() {
  cd /
  [ -z "$stage" ] || rm -rf -- "$stage"
  [ -z "$mode" ] || chmod "$mode" "$root"
  rm -rf -- "$tmp"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

for tool in awk gzip; do have "$tool" || die 1 "needs $tool, which is not installed"; done
[ "$(awk 'BEGIN { printf "%c", 200 }' | wc -c)" -eq 1 ] ||
  die 1 "this awk cannot write single bytes; install mawk, gawk or busybox"

# Which tar: gnu, bsd, busybox, or other, which is treated like busybox's.
kind_of_tar() {
  case $($1 --version 2>/dev/null) in
  *GNU*) echo gnu ;;
  *bsdtar*) echo bsd ;;
  *) case $($1 --help 2>&1) in *BusyBox*) echo busybox ;; *) echo other ;; esac ;;
  esac
}
if [ -n "${TAR:-}" ]; then
  tar=$TAR reader=$(kind_of_tar "$TAR")
else
  tar='' reader=''
  for program in tar gtar bsdtar; do
    have "$program" || continue
    kind=$(kind_of_tar "$program")
    case $reader/$kind in
    /* | other/* | busybox/gnu | busybox/bsd) tar=$program reader=$kind ;;
    esac
  done
  [ -n "$tar" ] || die 1 "needs tar, which is not installed"
fi

if [ "$(id -u)" = 0 ]; then superuser=yes; else superuser=; fi
if have sha256sum; then sum() { sha256sum; }; elif have shasum; then sum() { shasum -a 256; }; else sum() { :; }; fi
have sha256sum || have shasum || sums=no
sums=${sums:-yes}
if touch -d @1.5 "$tmp/touched" 2>/dev/null; then times=nano
elif touch -d @1 "$tmp/touched" 2>/dev/null; then times=seconds
else times=calendar; fi

# --- Which sets ---

here=$(dirname -- "$0")
case $here in /*) ;; *) here=./$here ;; esac
cd -P "$here" || die 1 "cannot find the store"
here=$PWD

if [ -z "$series" ]; then
  known=
  for manifest in "$here"/*/*.mtree.gz; do
    [ -e "$manifest" ] || continue
    manifest=${manifest%/*}
    [ "${manifest##*/}" = "$series" ] && continue
    series=${manifest##*/} known="$known${known:+, }${manifest##*/}"
  done
  [ -n "$series" ] || die 1 "there is no backup in $here"
  [ "$known" = "$series" ] || usage "there are several series, choose one with --series: $known"
fi
dir=$here/$series
case $series in */* | .*) usage "$series is no series' name" ;; esac
[ -d "$dir" ] || die 1 "there is no series $series in $here"

# All sets by name. Of several for one point (-full, -full-2) the highest number counts.
for manifest in "$dir"/*.mtree.gz; do
  manifest=${manifest##*/}
  printf '%s\n' "${manifest%.mtree.gz}"
done | awk -v days="[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z" \
  '$0 ~ ("^" days "-(full|incr|diff)(-[1-9][0-9]*)?$")' >"$tmp/sets"
[ -s "$tmp/sets" ] || die 1 "there is no backup in $dir"

# find_set WHAT: the newest set not after the end of what is named, or the one for just that point (=POINT).
find_set() {
  awk -v what="$1" '
    { point = substr($0, 1, 18); split($0, part, "-"); number = part[5] + 0 }
    $0 == what { named = $0 }
    !(point in best) || number >= most[point] { best[point] = $0; most[point] = number }
    END {
      if (named != "") { print named; exit }
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
latest | *-full | *-incr | *-diff | *-full-* | *-incr-* | *-diff-*) ;;
*)
  # 2026-11-24T06:00:00Z is written 2026-11-24T060000Z in names.
  at=$(printf '%s' "$at" | tr -d ':Z')
  printf '%s\n' "$at" | awk '{ exit !/^[0-9][0-9][0-9][0-9](-[0-9][0-9](-[0-9][0-9](T[0-9]*)?)?)?$/ }' ||
    usage "--at takes a set's name, a date like 2026-11-24 or a time like 2026-11-24T06"
  ;;
esac
set=$(find_set "$at")
case $at in
*-full* | *-incr* | *-diff*) [ "$set" = "$at" ] || die 1 "the set $at is not in $dir" ;;
*) [ -n "$set" ] || die 1 "there is no point at or before $at; the oldest is $(head -n 1 "$tmp/sets")" ;;
esac
target=$set

# read_head SET: its kind, what it builds on, what one must understand to read it.
read_head() {
  gzip -dc <"$dir/$1.mtree.gz" 2>/dev/null | awk -v name="$1" '
    NR == 1 && $0 != "#mtree" { exit }
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
      else if (kind == "full") print "full", id
      else if (parent >= time "") print "damaged"
      else print "more", id, parent, digest
    }'
}

chain=
: >"$tmp/parents"
while :; do
  read -r what id parent digest <<END
$(read_head "$set")
END
  case $what in
  full | more) ;;
  unknown) die 1 "$set needs a newer restore.sh: it uses $id $parent $digest" ;;
  *) die 4 "$set.mtree.gz is damaged" ;;
  esac
  chain="$set${chain:+ }$chain"
  [ "$what" = more ] || break
  echo "$set $digest" >>"$tmp/parents"
  child=$set
  set=$(find_set "=$parent")
  [ -n "$set" ] || die 1 "a set is missing: $child builds on the point $parent, and there is no $parent-* in $dir"
done

# --- What is to be done, from the manifests ---

# In the files that this awk program writes, names stand between single quotes, decoded.
for set in $chain; do
  gzip -dc <"$dir/$set.mtree.gz" || say "$set.mtree.gz cannot be read to its end"
done | (cd "$tmp" && awk -v chain="$chain" -v reader="$reader" -v superuser="$superuser" -v times="$times" '
  BEGIN {
    for (i = 1; i < 256; i++) byte[sprintf("%03o", i)] = sprintf("%c", i)
    quote = "\047"
    byte["047"] = quote "\\" quote quote
    sets = split(chain, set, " ")
    # What must be escaped in names that the tar takes for patterns.
    for (i in byte) pattern[i] = byte[i]
    if (reader != "gnu") {
      pattern["052"] = "\\*"
      pattern["077"] = "\\?"
      pattern["133"] = "\\["
      pattern["134"] = "\\\\"
    }
  }
  function fail(text) {
    if (!failed) print set[n] ".mtree.gz: " text >"error"
    failed = 1
    exit 1
  }
  function decoded(text, byte,   part, count, i, out) {
    if (!index(text, "\\")) return text
    count = split(text, part, /\\/)
    out = part[1]
    for (i = 2; i <= count; i++) {
      if (!(substr(part[i], 1, 3) in byte)) fail("line " NR " cannot be read")
      out = out byte[substr(part[i], 1, 3)] substr(part[i], 4)
    }
    return out
  }
  # The path as it stands between quotes. Never leads upward.
  function path(text,   p) {
    p = decoded(text, byte)
    if (("/" p "/") ~ /\/(\.|\.\.)?\//) fail("line " NR " names an unsafe path")
    return p
  }
  function parent(p) { return match(p, /\/[^\/]*$/) ? substr(p, 1, RSTART - 1) : "." }
  function name(p) { return match(p, /\/[^\/]*$/) ? substr(p, RSTART + 1) : p }
  function quoted(text) { return quote text quote }
  # Whether something above it, or itself, went away after set number `since`.
  function hidden(p, since) {
    if (!any_gone) return 0
    while (p != ".") {
      if (p in gone && gone[p] > since) return 1
      p = parent(p)
    }
    return 0
  }
  # (Here and there a "" follows an element of an array: gawk 5.2 cannot hand a missing one to a function.)
  function present(p) { return p in directory && !hidden(p, directory[p]) }

  # Collects work on names of one directory into one line.
  function queue(work, p,   above) {
    above = parent(p)
    if (above != queue_above || work != queue_work || queue_length > 30000) {
      end_queue()
      printf "enter %s && %s", quoted(above), work >before
      queue_above = above
      queue_work = work
    }
    printf " %s", quoted("./" name(p)) >before
    queue_length += length(p)
  }
  function end_queue() {
    if (queue_above != "") printf "\n" >before
    queue_above = ""
    queue_length = 0
  }
  function went(p) {
    queue("remove", p)
    gone[p] = n
    any_gone = 1
    forget(p)
  }
  function forget(p) {
    delete directory[p]; delete mode_of[p]; delete time_of[p]; delete owner_of[p]; delete attributes[p]
    delete had[p]; delete defaults[p]; delete closed[p]; delete changes_bits[p]; delete made[p]; delete stamped[p]
  }

  # A manifest begins.
  /^#mtree$/ {
    if (n && !ended) fail("is cut short")
    if (++n > sets) fail("cannot be read")
    ended = 0
    before = "before." n
    if (n > 1) open_directories()
    next
  }
  # Lets a later archive into directories that their owner may not write to, the outer ones first; and takes away
  # the access lists that new files would inherit.
  function open_directories(   p, length_, most, count, i) {
    if (!superuser) {
      for (p in closed) if (present(p)) {
        length_ = length(p)
        if (length_ > most) most = length_
        list[length_, ++count[length_]] = p
      }
      for (length_ = 1; length_ <= most; length_++)
        for (i = 1; i <= count[length_]; i++) print "enter " quoted(list[length_, i]) " && chmod u+rwx ." >before
    }
    if (reader == "bsd") for (p in defaults)
      if (present(p)) print "enter " quoted(p) " && without . system.posix_acl_default" >before
  }

  # What was renamed is taken out of the tree, in the order told, which is the deepest first; then all is put in
  # place, the other way round.
  /^# renamed / {
    if (n < 2 || NF != 4 || $3 !~ /^\.\/./ || $4 !~ /^\.\/./) fail("line " NR " cannot be read")
    p = path(substr($3, 3))
    q = path(substr($4, 3))
    if (p in target || q in came) fail("line " NR " renames what was renamed already")
    if (!renames++) end_queue()
    target[p] = q
    came[q] = renames
    print "take " quoted(parent(p)) " " quoted(name(p)) " " renames >before
    next
  }
  renames && !settled { settle_renames() }
  function settle_renames(   p, q, depth, deepest, count, i, list, at, old) {
    for (q in came) {
      depth = gsub(/\//, "/", q)
      if (depth > deepest) deepest = depth
      list[depth, ++count[depth]] = q
    }
    for (depth = 0; depth <= deepest; depth++) for (i = 1; i <= count[depth]; i++) {
      q = list[depth, i]
      print "put " quoted(parent(q)) " " quoted(name(q)) " " came[q] >before
    }
    # What is known of directories goes along; the manifest has a line for each, with what is new.
    for (p in directory) if (present(p) && (q = after(p)) != "" && !displaced(p, q)) {
      at[q] = p
      old["mode", q] = mode_of[p]; old["had", q] = had[p]; old["made", q] = made[p]; old["owner", q] = owner_of[p]
    }
    for (p in needed) if (!hidden(p, since[p]) && (q = after(p)) != "" && !displaced(p, q)) {
      old["needed", q] = needed[p]; old["shown", q] = shown[p]
      list["needed", q] = q
    }
    for (q in at) forget(at[q])
    for (p in target) { forget(p); forget(target[p]); delete needed[p]; gone[p] = gone[target[p]] = n }
    any_gone = 1
    for (q in at) {
      directory[q] = n
      mode_of[q] = old["mode", q]
      if (old["had", q] != "") had[q] = old["had", q]
      if (old["made", q] != "") { made[q] = 1; owner_of[q] = old["owner", q] }
    }
    for (i in list) if (i ~ /^needed/) {
      q = list[i]
      needed[q] = old["needed", q]
      shown[q] = old["shown", q]
      since[q] = n
    }
    settled = 1
    print "yes" >("renames." n)
    close("renames." n)
  }
  # Where a path is after the renames of this set; empty where it is where it was.
  function after(p,   q) {
    for (q = p; q != "."; q = parent(q)) if (q in target) return target[q] substr(p, length(q) + 1)
    return ""
  }
  # Whether something else came to where p, or what it lies in, would be after the renames.
  function displaced(p, q,   a, r) {
    for (a = p; !(a in target); a = parent(a)) continue
    for (r = q; !(r in came); r = parent(r)) continue
    return r != target[a]
  }
  function was_renamed(p) {
    if (renames) for (; p != "."; p = parent(p)) if (p in came) return 1
    return 0
  }

  /^\.\// {
    tags = substr($NF, 6)
    if (index(tags, ",k") && tags ~ /,k(,|$)/) {
      sparse[$1] = n
      any_sparse = 1
    } else if (any_sparse) delete sparse[$1]
    if ($2 == "type=dir") { entry_directory(path(substr($1, 3))); next }
    time = substr($2 == "type=file" ? $7 : $6, 6)
    if (index(tags, ",n:")) faces[path(substr($1, 3))] = face()
    if (reader == "bsd" || (reader == "busybox" && superuser)) note_repair()
    if (n == 1) {
      if (index(tags, ",s") && tags ~ /,s(,|$)/) carry(path(substr($1, 3)))
      next
    }
    p = path(substr($1, 3))
    stamped[parent(p)] = 1
    # Where a directory was: that goes first.
    if (p in directory) went(p)
    if (p in needed && substr(tags, index(tags, ",p:") + 3, 16) != needed[p]) delete needed[p]
    if (index(tags, ",s") && tags ~ /,s(,|$)/) carry(p)
    if (index(tags, ",m") && tags ~ /,m(,|$)/) update(p)
    next
  }
  # What a file with several names is, in this set.
  function face(   i, all) {
    all = n
    for (i = 2; i < NF; i++) all = all " " $i
    return all
  }
  # A large file whose contents stayed as they were: the archive does not have it again.
  function update(p,   file, list, i, count, part, late) {
    if ($2 != "type=file" || $3 !~ /^uid=[0-9]+$/ || $4 !~ /^gid=[0-9]+$/ || $5 !~ /^mode=[0-7]+$/ || \
      time !~ /^-?[0-9]+\.[0-9]+$/) fail("line " NR " cannot be read")
    file = quoted("./" name(p))
    if (superuser) list = " chown " substr($3, 5) ":" substr($4, 5) " " file ";"
    list = list " chmod u+rw " file "; bare " file ";"
    count = split(substr(tags, 1, index(tags, "@")), part, ",")
    for (i = 1; i <= count; i++) if (part[i] ~ /^x:/) {
      # An access list comes after the mode, whose group bits are its mask.
      if (part[i] ~ /^x:system\./) late = late with(file, part[i])
      else if (superuser || part[i] ~ /^x:user\./) list = list with(file, part[i])
    }
    list = list " chmod 0" substr($5, 6) " " file ";" late " " stamp(file, time)
    print "enter " quoted(parent(p)) " && [ -f " file " ] && [ ! -L " file " ] && {" list "; }" >("updates." n)
  }
  # What bsdtar reads wrongly: times before 1970 with fractions, attributes with a % or = in their names. And links,
  # which busybox leaves to root and to the group that a directory hands down.
  function note_repair(   file, work) {
    delete repair[$1]
    work = ""
    if (reader == "bsd") {
      if (tags !~ /%|\\075/ && !reads_wrongly(time)) return
      file = quoted("./" name(path(substr($1, 3))))
      work = percents(file, substr(tags, 1, index(tags, "@")))
      if (reads_wrongly(time)) work = work " " stamp(file, time) ";"
    } else if ($2 == "type=link") {
      file = path(substr($1, 3))
      if (($3 $4) == "uid=0gid=0" && special(mode_of[parent(file)] "") !~ /[2367]/) return
      if (($3 $4) !~ /^uid=[0-9]+gid=[0-9]+$/) fail("line " NR " cannot be read")
      work = " chown -h " substr($3, 5) ":" substr($4, 5) " " quoted("./" name(file)) ";"
    }
    if (work == "") return
    repair[$1] = work
    repair_of[$1] = n
  }
  function reads_wrongly(time) { return time ~ /-.*[.]0*[1-9]/ }
  function percents(file, list,   i, count, part, tag, wrong, work) {
    if (list !~ /%|\\075/) return ""
    count = split(list, part, ",")
    for (i = 1; i <= count; i++) if (part[i] ~ /^x:[^:]*(%|\\075)[^:]*:/) {
      split(part[i], tag, ":")
      wrong = tag[2]
      gsub(/%/, "%25", wrong)
      gsub(/\\075/, "%3D", wrong)
      work = work with(file, part[i]) " without " file " " quoted(decoded(wrong, byte)) ";"
    }
    return work
  }
  function entry_directory(p,   mode, i, count, part) {
    mode = substr($5, 6)
    if ($5 !~ /^mode=[0-7]+$/ || $6 !~ /^time=-?[0-9]+\.[0-9]+$/ || ($3 $4) !~ /^uid=[0-9]+gid=[0-9]+$/)
      fail("line " NR " cannot be read")
    if (!present(p)) {
      forget(p)
      if (n > 1) queue("make_way", p)
      # What the directory above hands down: it may lose its own setgid bit only after this one was made.
      if (n > 1 && special(mode) !~ /[2367]/) changes_bits[p] = 1
    } else if (special(mode) != special(mode_of[p] "")) changes_bits[p] = 1
    delete needed[p]
    if (n > 1) stamped[p] = stamped[parent(p)] = 1
    directory[p] = n
    mode_of[p] = mode
    if (made[p]) owner_of[p] = substr($3, 5) ":" substr($4, 5)
    time_of[p] = substr($6, 6)
    if (special(mode, 3) != 7) closed[p] = 1
    else delete closed[p]
    delete attributes[p]
    delete defaults[p]
    if (tags ~ /(^|,)x:/) {
      sub(/@.*/, "", tags)
      count = split(tags, part, ",")
      for (i = 1; i <= count; i++) if (part[i] ~ /^x:[^:]*:[A-Za-z0-9+\/]*$/) {
        attributes[p] = attributes[p] part[i] ","
        had[p] = had[p] part[i] ","
        if (part[i] ~ /^x:system\.posix_acl_default:/) defaults[p] = 1
      }
      tags = substr($NF, 6)
    }
    if (tags ~ /,s(,|$)/ && !was_renamed(p)) {
      print "enter_new " quoted(parent(p)) " && make_directory " quoted("./" name(p)) >("carried." n)
      owner_of[p] = substr($3, 5) ":" substr($4, 5)
      made[p] = carries = 1
      stamped[parent(p)] = 1
    }
  }
  # The setuid, setgid and sticky bits of a mode; with `from` the digit that stands there from the right.
  function special(mode, from) {
    mode = "0000" mode
    return substr(mode, length(mode) + 1 - (from ? from : 4), 1)
  }

  # What the run that made this set could not look at: the last good copy lies in an older set.
  function carry(p,   id, where, i, count, part, first, own, holder) {
    # It came along with a directory: it is there already.
    if (was_renamed(p)) return
    stamped[parent(p)] = carries = 1
    where = "enter_new " quoted(parent(p)) " && "
    count = split(substr(tags, 1, index(tags, "@")), part, ",")
    for (i = 1; i <= count; i++) if (part[i] ~ /^l:/) {
      first = path(substr(part[i], 3))
      own = face()
      # The first name may be something newer by now: last good copies are names of each other then.
      if (index(faces[first], n " ") == 1 && faces[first] != own) {
        if (!(first in copy) || faces[copy[first]] != own) {
          # In that archive it is a link to what holds its bytes.
          holder = " " quoted(decoded(substr(part[i], 3), pattern))
          copy[first] = p
          break
        }
        first = copy[first]
      }
      print "link_to " quoted(parent(first)) " " quoted(name(first)) " " quoted(parent(p)) " " quoted(name(p)) \
        " " quoted($1) >("links." n)
      return
    }
    if (index(tags, ",p:")) {
      id = substr(tags, index(tags, ",p:") + 3, 16)
      if (id !~ /^[0-9a-f]+$/) fail("line " NR " cannot be read")
      if (!((n, id) in wanted)) print id >("wanted." n)
      wanted[n, id] += length(p) + length(holder)
      needed[p] = id
      since[p] = n
      shown[p] = $1
      if (wanted[n, id] < 60000) printf " %s%s", quoted(decoded(substr($1, 3), pattern)), holder >("names." n "." id)
      print "place " quoted(parent(p)) " " quoted(name(p)) >("places." n "." id)
      return
    }
    p = quoted("./" name(p))
    if ($2 == "type=link") {
      for (i = 3; i < NF; i++) if ($i ~ /^link=/)
        where = where "ln -s -- " quoted(decoded(substr($i, 6), byte)) " " p
    } else if ($2 == "type=fifo") where = where "mkfifo " p
    else if ($2 == "type=file") where = where ": >" p
    else if ($2 == "type=char" || $2 == "type=block") {
      for (i = 3; i < NF; i++) if ($i ~ /^device=native,[0-9]+,[0-9]+$/) {
        split($i, part, ",")
        where = where "mknod " p " " substr($2, 6, 1) " " part[2] " " part[3]
      }
    } else return
    if ($3 !~ /^uid=[0-9]+$/ || $4 !~ /^gid=[0-9]+$/ || $5 !~ /^mode=[0-7]+$/ || time !~ /^-?[0-9]+\.[0-9]+$/)
      fail("line " NR " cannot be read")
    where = where " && {"
    if (superuser) where = where " chown -h " substr($3, 5) ":" substr($4, 5) " " p ";"
    if ($2 != "type=link") where = where " chmod 0" substr($5, 6) " " p ";"
    for (i = 1; i <= count; i++) if (part[i] ~ /^x:/) where = where with(p, part[i])
    print where " " stamp(p, time) "; }" >("carried." n)
  }

  # Shell text that sets an extended attribute (x:NAME:BASE64), or a time.
  function with(p, tag,   part, value) {
    split(tag, part, ":")
    value = part[3]
    while (length(value) % 4) value = value "="
    return " with " p " " quoted(decoded(part[2], byte)) " " (value == "" ? quoted("") : "0s" value) ";"
  }
  function stamp(p, time,   part, seconds, fraction, days, era, rest, year, month, day) {
    split(time, part, ".")
    seconds = part[1]
    fraction = part[2]
    if (times == "nano") {
      # Floored seconds and what comes after: -2.5 in the manifest is one and a half before 1970.
      if (seconds ~ /^-/ && fraction + 0 > 0) {
        seconds = -(seconds + 1)
        return "touch -h -d @-" sprintf("%.0f", seconds) "." sprintf("%09.0f", 1000000000 - fraction) " " p
      }
      return "touch -h -d @" time " " p
    }
    if (times == "seconds") return "touch -h -d @" seconds " " p
    days = int(seconds / 86400)
    if (days * 86400 > seconds) days--
    rest = seconds - days * 86400
    days += 719468
    era = int(days / 146097)
    days -= era * 146097
    year = int((days - int(days / 1460) + int(days / 36524) - int(days / 146096)) / 365)
    day = days - (365 * year + int(year / 4) - int(year / 100))
    month = int((5 * day + 2) / 153)
    day = day - int((153 * month + 2) / 5) + 1
    month = month < 10 ? month + 3 : month - 9
    year += era * 400 + (month <= 2)
    return "TZ=UTC0 touch -h -t " sprintf("%04d%02d%02d%02d%02d.%02d", year, month, day, int(rest / 3600), \
      int(rest % 3600 / 60), rest % 60) " " p
  }

  /^# deleted \.\// {
    p = path(substr($3, 3))
    if (n > 1) went(p)
    stamped[parent(p)] = 1
    delete needed[p]
    delete sparse[$3]
    delete repair[$3]
    next
  }
  /^# volume: / {
    if ($3 !~ /^[0-9A-Za-z][0-9A-Za-z._-]*$/ || $4 !~ /^[0-9]+$/ || $5 !~ /^[0-9a-f]+$/) fail("cannot be read")
    print $3, $4, $5 >("volumes." set[n])
  }
  /^# point: / { print set[n], $3 >"points" }
  /^# end: / {
    if (n > 1) end_queue()
    for (p in changes_bits) {
      if (present(p)) print "enter " quoted(p) " && chmod 0000" mode_of[p] " ." >("bits." n)
      delete changes_bits[p]
    }
    close("bits." n)
    print $3 >("end." set[n])
    ended = 1
    for (p in target) { delete came[target[p]]; delete target[p] }
    renames = settled = 0
    close(before); close("carried." n); close("links." n); close("updates." n)
  }

  # At last: what tar could not give to directories, the deepest first.
  function attribute_names(list,   i, count, part, tag) {
    for (i in names) delete names[i]
    count = split(list, part, ",")
    for (i = 1; i < count; i++) { split(part[i], tag, ":"); names[tag[2]] = part[i] }
  }
  function finish(p,   work, i) {
    work = reader == "bsd" ? percents(".", had[p] "") : ""
    if (made[p] && superuser) work = work " chown " owner_of[p] " .;"
    if (had[p] != attributes[p]) {
      attribute_names(attributes[p] "")
      for (i in names) final[i] = 1
      attribute_names(had[p] "")
      for (i in names) if (!(i in final) && i !~ /^security\.(selinux|ima|evm)$/)
        if (superuser || i ~ /^(user|system)\./) work = work " without . " quoted(decoded(i, byte)) ";"
      for (i in final) delete final[i]
    }
    if (made[p] || (reader == "bsd" && defaults[p])) {
      attribute_names(attributes[p] "")
      for (i in names) if (made[p] || i == "system.posix_acl_default") work = work with(".", names[i])
    }
    # GNU tar sets the times of all directories that its archive touches; the others do not.
    if (made[p] || (stamped[p] && (reader == "bsd" || carries)) || reader == "busybox" || reader == "other" || \
      (reader == "bsd" && reads_wrongly(time_of[p])))
      work = work " " stamp(".", time_of[p]) ";"
    if (made[p] || (!superuser && closed[p])) work = work " chmod 0000" mode_of[p] " .;"
    return work
  }
  END {
    if (failed) exit 1
    if (n != sets || !ended) { print set[n] ".mtree.gz is cut short" >"error"; exit 1 }
    for (p in repair) {
      file = path(substr(p, 3))
      if (!hidden(file, repair_of[p])) print "enter " quoted(parent(file)) " && {" repair[p] " }" >"after"
    }
    for (p in directory) if (present(p)) {
      if (name(p) ~ /^\.sheaf-purge-[0-9]+$/) print quoted("./" p) ") return 0 ;;" >"kept"
      if ((work = finish(p)) == "") continue
      size = length(p)
      if (size > most) most = size
      last[size, ++count[size]] = "enter " quoted(p) " && {" work " }"
    }
    for (; most > 0; most--) for (i = 1; i <= count[most]; i++) print last[most, i] >"after"
    for (p in needed) if (!hidden(p, since[p])) print needed[p], shown[p] >"needed"
    for (p in sparse) if (!hidden(path(substr(p, 3)), sparse[p])) print p >"sparse"
    if (any_gone) print "yes" >"gone"
  }
') || [ -s "$tmp/error" ] || die 1 "cannot read the manifests"
[ ! -s "$tmp/error" ] || die 4 "$(cat "$tmp/error")"

while read -r set digest; do
  parent=
  for older in $chain; do [ "$older" = "$set" ] && break; parent=$older; done
  grep -qx "$parent $digest" "$tmp/points" ||
    die 4 "$parent is not the set that $set builds on: they do not fit together"
done <"$tmp/parents"

# Older sets that hold the last good copy of something.
problems=
cat "$tmp"/wanted.* 2>/dev/null | sort -u >"$tmp/wanted"
while read -r id; do
  while read -r set; do
    read -r what own rest <<END
$(read_head "$set")
END
    case $what in full | more) [ "$own" = "$id" ] && break ;; esac
    set=
  done <"$tmp/sets"
  if [ -n "$set" ]; then
    gzip -dc <"$dir/$set.mtree.gz" 2>/dev/null | awk '
      $2 == "volume:" && $3 ~ /^[0-9A-Za-z][0-9A-Za-z._-]*$/ { print $3, $4, $5 }' >"$tmp/volumes.$set"
    while read -r name rest; do [ -f "$dir/$name" ] || set=; done <"$tmp/volumes.${set:-none}"
  fi
  if [ -n "$set" ]; then
    echo "$set" >"$tmp/set.$id"
  elif grep -s "^$id " "$tmp/needed" | sed 's/^[^ ]* //' >"$tmp/lost" && [ -s "$tmp/lost" ]; then
    say "$(wc -l <"$tmp/lost" | tr -d ' ') files lie in an older set ($id) that is not here; they will be missing:"
    head -n 20 "$tmp/lost" >&2
    problems=yes
  fi
done <"$tmp/wanted"

# --- Is everything there, and whole? ---

all_sets() { echo "$chain" | tr ' ' '\n'; cat "$tmp"/set.* 2>/dev/null; }
for set in $(all_sets | sort -u); do
  [ -s "$tmp/volumes.$set" ] || die 4 "$set.mtree.gz is damaged: it names no archive"
  while read -r name size digest; do
    [ -f "$dir/$name" ] || die 1 "an archive is missing: $name is not in $dir"
    # shellcheck disable=SC2012
    found=$(ls -lnL "$dir/$name" | awk '{ print $5; exit }')
    [ "$found" = "$size" ] || die 4 "$name is damaged: it has $found bytes and should have $size"
  done <"$tmp/volumes.$set"
done

if [ -d "$to" ]; then
  [ -z "$(ls -A "$to")" ] || die 1 "$to is not empty"
elif [ -e "$to" ] || [ -L "$to" ]; then
  die 1 "$to is not a directory"
fi

if [ -z "$check" ] || [ "$sums" = no ]; then
  [ -z "$check" ] || say "note: sha256sum is not installed, so damage is found only where gzip notices it"
else
  for set in $(all_sets | sort -u); do
    echo "checking $set"
    if [ -f "$tmp/end.$set" ]; then
      read -r digest <"$tmp/end.$set"
      found=$(gzip -dc <"$dir/$set.mtree.gz" | sed '$d' | sum)
      [ "${found%% *}" = "$digest" ] || die 4 "$set.mtree.gz is damaged: its digest does not match"
    fi
    while read -r name size digest; do
      found=$(sum <"$dir/$name")
      [ "${found%% *}" = "$digest" ] ||
        die 4 "$name is damaged: its digest does not match (--no-check restores what can be restored)"
    done <"$tmp/volumes.$set"
  done
fi

[ "$superuser" ] || say "note: not run by root, so owners, devices and system attributes cannot be restored"
case $reader in
busybox | other)
  say "note: this tar keeps no fractions of seconds, no extended attributes and access lists, no links' times and" \
    "no paths longer than 4096 bytes; GNU tar or bsdtar do better"
  if [ -s "$tmp/sparse" ]; then
    say "$(wc -l <"$tmp/sparse" | tr -d ' ') files are stored with their holes left out, which this tar does not" \
      "understand; they come out wrong:"
    head -n 20 "$tmp/sparse" >&2
    problems=yes
  fi
  ;;
esac

# --- Restoring ---

{ mkdir -p "$to" && cd -P "$to"; } || die 1 "cannot make $to"
root=$PWD
# Nobody else comes in until all is done: who could put symbolic links into the tree could lead the rest astray.
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

# What the files that awk wrote are made of.

# Goes into a directory of the tree, and nowhere else: false where it is not there or a symbolic link on the way.
enter() {
  cd -P "$root" || exit 1
  [ "$1" = . ] && return
  if [ ${#1} -lt 3000 ]; then
    cd -P "./$1" 2>/dev/null || return
    [ "$PWD" = "$root/$1" ] && return
  else
    # Too long to be named at once.
    way=$1/
    while [ -n "$way" ] && [ ! -L "./${way%%/*}" ]; do
      cd -P "./${way%%/*}" 2>/dev/null || return
      way=${way#*/}
    done
    [ -z "$way" ] && return
  fi
  say "a symbolic link is where a directory should be, so nothing was done in it: $1"
  : >"$tmp/problem"
  return 1
}
# The same, but makes what is not there yet.
enter_new() {
  cd -P "$root" || exit 1
  [ "$1" = . ] && return
  way=$1/
  while [ -n "$way" ]; do
    make_directory "./${way%%/*}" || return
    cd -P "./${way%%/*}" 2>/dev/null || return
    way=${way#*/}
  done
}
remove() { rm -rf -- "$@" || : >"$tmp/problem"; }
# Takes something out of the tree, and puts it in its new place.
take() {
  enter "$1" && mv -f -- "./$2" "$stage/$3" && return
  say "could not be renamed, for it is not there: $1/$2"
  : >"$tmp/problem"
}
put() {
  [ -e "$stage/$3" ] || [ -L "$stage/$3" ] || return 0
  if enter_new "$1"; then
    remove "./$2"
    { [ -e "./$2" ] || [ -L "./$2" ]; } || { mv -- "$stage/$3" "./$2" && return; }
  fi
  say "could not be renamed to $1/$2"
  : >"$tmp/problem"
}
make_way() {
  for file; do
    if [ -L "$file" ] || { [ -e "$file" ] && [ ! -d "$file" ]; }; then remove "$file"; fi
  done
}
make_directory() {
  make_way "$1"
  [ -d "$1" ] || mkdir -- "$1"
}
have_attributes() {
  have setfattr && return
  [ -f "$tmp/no-setfattr" ] || say "note: setfattr is not installed, so some files and directories keep or lack attributes"
  : >"$tmp/no-setfattr"
  return 1
}
with() { have_attributes && { setfattr -h -n "$2" -v "$3" -- "$1" || : >"$tmp/problem"; }; }
without() {
  if have setfattr; then setfattr -h -x "$2" -- "$1" 2>/dev/null
  elif have setfacl && [ "$2" = system.posix_acl_default ]; then setfacl -k -- "$1"
  elif have setfacl && [ "$2" = system.posix_acl_access ]; then setfacl -m m::rwx -- "$1" && setfacl -b -- "$1"
  else have_attributes; fi
}
# Takes all attributes from a file; getfattr shows odd bytes of their names in octal.
bare() {
  have getfattr || return 0
  getfattr -h -m - -- "$1" 2>/dev/null | sed '/^# file: /d; /^$/d; /^security\.\(selinux\|ima\|evm\)$/d; s/%/%%/g' |
    while read -r attribute; do
      # shellcheck disable=SC2059
      without "$1" "$(printf "$attribute")"
    done
}
place() {
  if enter_new "$1" && [ -e "$stage/$1/$2" ]; then
    make_way "./$2" && mv -f -- "$stage/$1/$2" "./$2" && return
  fi
  say "could not be restored from an older set: $1/$2"
  : >"$tmp/problem"
}
link_to() {
  enter "$1" && [ -f "./$2" ] && [ ! -L "./$2" ] && enter "$3" && make_way "./$4" && ln -- "$root/$1/$2" "./$4" &&
    return
  say "could not be restored, the file it is another name of is not there: $5"
  : >"$tmp/problem"
}
# Runs what awk wrote; in a shell of its own, since it goes about.
# shellcheck disable=SC1090
follow() {
  [ -s "$tmp/$1" ] || return 0
  rm -f "$tmp/done"
  # bash 5.2 would become the last command of the list, and not come back.
  echo : >>"$tmp/$1"
  (
    . "$tmp/$1"
    : >"$tmp/done"
  )
  [ -f "$tmp/done" ] || : >"$tmp/problem"
}

# unpack SET DIRECTORY [NAME...]
archive() { while read -r name rest; do cat "$dir/$name" || return; done <"$tmp/volumes.$1"; }
stream() { { archive "$1" || : >"$tmp/broken"; } | { gzip -dc || : >"$tmp/broken"; }; }
extract() {
  case $reader$superuser in
  gnuyes)
    $tar -x -p --xattrs --xattrs-include='*' --acls --numeric-owner --warning=no-timestamp \
      --no-recursion --no-wildcards --no-unquote -f - -- "$@" ;;
  gnu)
    $tar -x -p --xattrs --xattrs-include='user.*' --acls --warning=no-timestamp \
      --no-recursion --no-wildcards --no-unquote -f - -- "$@" ;;
  bsd*) $tar -x -p -U --numeric-owner --acls --xattrs -f - -- "$@" ;;
  busybox*) $tar -x -p --numeric-owner -f - -- "$@" ;;
  *) $tar -x -p -f - -- "$@" ;;
  esac
}
unpack() {
  from=$1
  cd "$2" || exit 1
  shift 2
  stream "$from" | {
    extract "$@" 2>"$tmp/said"
    failed=$?
    cat >/dev/null
    exit "$failed"
  }
  failed=$?
  if [ -s "$tmp/said" ]; then
    grep -v ': not found in archive$' "$tmp/said" | head -n 50 | tr '\001-\011\013-\037\177-\377' '?' >&2
  fi
  if [ -f "$tmp/broken" ]; then
    say "$from: the archive cannot be read to its end"
    rm -f "$tmp/broken"
    problems=yes
  fi
  # busybox finds names with an asterisk and then says that it did not; whether files are there is looked at anyway.
  if [ "$failed" -ne 0 ] && { [ $# -eq 0 ] || [ "$reader" = gnu ] || [ "$reader" = bsd ]; }; then
    say "$from: not everything could be unpacked"
    problems=yes
  fi
}

# GNU tar and busybox write through symbolic links that an earlier archive made (bsdtar does not): refuses an
# archive with an entry, or a hard link to something, below one. So that a name is a line, a backslash stands as
# \134 in what is compared, and a line feed as \012.
guard() {
  [ "$reader" != bsd ] || return 0
  cd "$root" || exit 1
  find . -type l -exec awk '
    function replaced(text, mark, with,   part, count, i, out) {
      count = split(text, part, mark)
      out = part[1]
      for (i = 2; i <= count; i++) out = out with part[i]
      return out
    }
    BEGIN {
      for (i = 1; i < ARGC; i++) print replaced(replaced(substr(ARGV[i], 3), "\\\\", "\\134"), "\n", "\\012")
    }' {} + >"$tmp/symlinks" || die 1 "cannot look for symbolic links in all of $to"
  [ -s "$tmp/symlinks" ] || return 0
  if [ "$reader" = gnu ]; then
    stream "$1" | $tar -t -v --quoting-style=escape --numeric-owner -f - 2>/dev/null | through_links escaped
  else
    # Names come as they are, in as many lines as they have, and before them the owner's, which may be anything.
    stream "$1" | $tar -t -f - 2>/dev/null | through_links names
    [ -s "$tmp/through" ] || stream "$1" | $tar -t -v -f - 2>/dev/null | through_links links
  fi
  [ ! -s "$tmp/through" ] || die 1 "$1 $(cat "$tmp/through"): refused, what is restored so far stays"
}
# Reads what tar lists of an archive: `escaped` in full and as GNU tar escapes it, `names` alone, or, for the sake
# of hard `links`, in full. Says why the archive is not to be unpacked.
through_links() {
  awk -v form="$1" '
    BEGIN {
      for (i = 1; i < 256; i++) byte[sprintf("%03o", i)] = sprintf("%c", i)
      byte["a"] = byte["007"]; byte["b"] = byte["010"]; byte["t"] = byte["011"]; byte["v"] = byte["013"]
      byte["f"] = byte["014"]; byte["r"] = byte["015"]; byte["n"] = byte["012"] = "\\012"
      day = " -?[0-9]+-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]"
      head = "^[^ ]+ +-?[0-9]+/-?[0-9]+ +[0-9,]+(" day "| +-?[0-9.]+) "
      mode = "[-rwxsStT]"
      mode = mode mode mode mode mode mode mode mode mode " "
    }
    function unescaped(text,   part, count, i, key, out) {
      if (!index(text, "\\")) return text
      count = split(text, part, "\\\\")
      out = part[1]
      for (i = 2; i <= count; i++) {
        key = part[i] ~ /^[0-7]/ ? substr(part[i], 1, 3) : substr(part[i], 1, 1)
        if (key == "") out = out "\\134" part[++i]
        else out = out byte[key] substr(part[i], length(key) + 1)
      }
      return out
    }
    # busybox shows what is not printable as it is, or as a question mark: both are taken for the latter.
    function shown(text) { gsub(/[^ -~]/, "?", text); return text }
    function refuse(why) { print why; exit }
    function below(link) { refuse("would write through the symbolic link " link) }
    # Whether it lies below a link, after all that a tar takes off and the kernel passes over.
    function look(name,   part, count, i, above) {
      gsub(/\/(\.?\/)+/, "/", name)
      sub(/^(\.?\/)+/, "", name)
      while (match(name, /(^|\/)\.\.(\/|$)/)) name = substr(name, RSTART + RLENGTH)
      if (!match(name, /.*\//)) return
      name = substr(name, 1, RLENGTH - 1)
      if (name == last) return
      last = name
      count = split(name, part, "/")
      for (i = 1; i <= count; i++) {
        above = i == 1 ? part[1] : above "/" part[i]
        if (above in link) below(link[above])
      }
    }
    function targets(text, mark) {
      while (match(text, mark)) { text = substr(text, RSTART + RLENGTH); look(text) }
    }
    # Whether it goes on, below a link with line feeds in its name, what began so many lines ago.
    function look_back(   i, k, at) {
      for (i = 1; i <= broken; i++) {
        if (index($0, piece[i, pieces[i]] "/") != 1) continue
        for (k = 1; k < pieces[i] - 1 && past[FNR - k] == piece[i, pieces[i] - k]; k++) ;
        at = length(past[FNR - k]) - length(piece[i, 1])
        if (k < pieces[i] - 1 || at < 0 || substr(past[FNR - k], at + 1) != piece[i, 1]) continue
        if (at == 0 || substr(past[FNR - k], at, 1) ~ /[ \/]/) below(name_of[i])
      }
      past[FNR] = $0
      delete past[FNR - most]
    }

    NR == FNR && form == "escaped" { link[$0] = $0; next }
    NR == FNR {
      count = split($0, part, "\\\\012")
      if (count > 1) name_of[++broken] = $0
      for (i = 1; i <= count; i++) {
        gsub(/\\134/, "?", part[i])
        part[i] = shown(part[i])
        name = i == 1 ? part[1] : name "?" part[i]
        if (count > 1) piece[broken, i] = part[i]
      }
      if (count > 1) pieces[broken] = count
      if (count > most) most = count
      link[name] = $0
      next
    }
    form == "escaped" {
      if (!match($0, head)) refuse("cannot be listed")
      name = unescaped(substr($0, RLENGTH + 1))
      look(name)
      if (/^h/) targets(name, " link to ")
      next
    }
    {
      gsub(/\\/, "?")
      $0 = shown($0)
      if (broken) look_back()
    }
    form == "names" {
      if ($0 ~ ("^l" mode)) refuse("cannot be listed")
      look($0)
      next
    }
    # What symbolic links lead to is passed over; but a line that only looks like one may follow half an owner.
    $0 ~ ("^." mode) {
      passed = !half && /^l/
      half = $0 !~ day
      if (passed) next
    }
    { targets($0, " -> ") }' "$tmp/symlinks" - >"$tmp/through"
}

# Files from older sets, by way of a directory of their own.
take_from_older() {
  while read -r id; do
    [ -f "$tmp/set.$id" ] || continue
    read -r older <"$tmp/set.$id"
    echo "restoring what was not seen by then, from $older"
    stage=$(mktemp -d "$root/.sheaf.XXXXXX") || die 1 "cannot make a directory in $to"
    set --
    # All of it where the names are too many for a command.
    if [ "$(wc -c <"$tmp/names.$n.$id")" -lt 60000 ]; then eval "set -- $(cat "$tmp/names.$n.$id")"; fi
    unpack "$older" "$stage" "$@"
    follow "places.$n.$id"
    cd "$root" || exit 1
    rm -rf -- "$stage"
    stage=''
  done <"$tmp/wanted.$n"
}

n=0
count=$(echo "$chain" | wc -w | tr -d ' ')
for set in $chain; do
  n=$((n + 1))
  echo "restoring $set ($n of $count)"
  if [ -f "$tmp/renames.$n" ]; then
    stage=$(mktemp -d "$root/.sheaf.XXXXXX") || die 1 "cannot make a directory in $to"
  fi
  follow "before.$n"
  if [ -n "$stage" ]; then
    cd "$root" || exit 1
    rm -rf -- "$stage"
    stage=''
  fi
  # First of all, since the archive may hold other names of it.
  follow "carried.$n"
  [ ! -f "$tmp/wanted.$n" ] || take_from_older
  if [ "$n" -gt 1 ] || [ -s "$tmp/carried.$n" ]; then guard "$set"; fi
  unpack "$set" "$root"
  follow "links.$n"
  follow "updates.$n"
  follow "bits.$n"
done

# Directories that stock GNU tar needs for deleting much at once, and removes itself.
if [ -f "$tmp/gone" ]; then
  cd "$root" || exit 1
  # shellcheck disable=SC2016
  { echo 'kept() { case $1 in'; cat "$tmp/kept" 2>/dev/null; echo 'esac; return 1; }'; } >"$tmp/kept-or-not"
  # shellcheck disable=SC1091
  . "$tmp/kept-or-not"
  find . -type d -name '.sheaf-purge-*' >"$tmp/purges"
  while read -r directory; do
    if kept "$directory" || [ ! -d "$directory" ]; then continue; fi
    touch -r "${directory%/*}" "$tmp/touched"
    rmdir "$directory" && touch -r "$tmp/touched" "${directory%/*}"
  done <"$tmp/purges"
fi
follow after

[ ! -f "$tmp/problem" ] || problems=yes
if [ -n "$problems" ]; then
  say "$target is restored in $to, but not all of it: see above"
  exit 3
fi
echo "restored $target in $to"
