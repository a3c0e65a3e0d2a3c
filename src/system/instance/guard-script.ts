/**
 * The program of the guard process: POSIX shell, because a shell that waits in `read` has the smallest memory of all that every host has.
 * guard.ts says what it promises; this file is how.
 *
 * While the master lives it only keeps a table, in shell variables: w_PID is what was added for a worker, e_PID where its
 * chain of stop signals ends. At the end of its input (the master is gone) it looks at all processes ten times a second:
 *
 *   member   of a worker: in its process group or session; or its parent is a member; or it was a member at an earlier look
 *   asked    once each: the leader and down its chain of only children; when the leader is gone, those at the top of what it left
 *   killed   all members, when the worker's time is up
 *
 * until no member of any worker is left. Last, whoever still carries the mark of this master in its environment is killed:
 * what has left its worker's session, and a process whose spawn the master did not live to register.
 * Variables by process: m_ its worker, p_ its parent, t_ its worker and start time, k_ its children, a_ it was asked; o_ the members of a worker.
 */
export const guardProgram = `
trap '' HUP INT QUIT TERM USR1 USR2 PIPE TSTP TTIN TTOU
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
unset GUARD_PROGRAM
mark="SUPERVISE_INSTANCE=$1" born=\${1#*-}
newline='
'
set -f

while read -r word pid rest; do
  case $word in
    add) eval "w_$pid='$rest'" ;;
    ends) eval "e_$pid=$rest" ;;
    del) unset "w_$pid" "e_$pid" ;;
    bye) exit 0 ;;
  esac
done

workers=
IFS=$newline
for line in $(set); do
  case $line in w_[0-9]*) line=\${line#w_}; workers="$workers \${line%%=*}" ;; esac
done
unset IFS

# Without a /proc only the process groups are known, and no start time can be compared.
if ! [ -r /proc/self/stat ]; then
  for worker in $workers; do
    eval 'set -- $w_'$worker
    kill -"$2" "$worker" 2>/dev/null
  done
  waits=0
  while [ $waits -lt 50 ]; do
    left=
    for worker in $workers; do kill -0 "-$worker" 2>/dev/null && left=yes; done
    [ "$left" ] || exit 0
    sleep 0.1
    waits=$((waits + 1))
  done
  for worker in $workers; do kill -9 "-$worker" 2>/dev/null; done
  exit 0
fi

# Hundredths of a second since boot.
clock() { read -r up rest </proc/uptime; now=\${up%.*}\${up#*.}; }

# Every process as "PID STATE PPID PGRP SESSION STARTTICKS", without zombies. A name may hold spaces, parentheses and newlines.
processes() {
  set +f; lines=$(cat /proc/[0-9]*/stat 2>/dev/null); set -f
  list= part=
  IFS=$newline
  for line in $lines; do
    unset IFS
    part=$part$line
    pid=\${part%% *}
    set -- \${part##*) }
    # A name of 15 characters cannot fake that many fields: with fewer, the line goes on.
    if [ $# -lt 20 ]; then part="$part "; continue; fi
    part=
    case $1 in Z | X | x) continue ;; esac
    list="$list$pid $1 $2 $3 $4 \${20}$newline"
  done
  unset IFS
}

# Finds the members of all workers. A worker whose pid is somebody else's by now is struck off.
look() {
  for pid in $members; do unset "m_$pid" "k_$pid"; done
  for worker in $workers; do unset "o_$worker"; done
  members=
  processes
  IFS=$newline
  for line in $list; do
    unset IFS
    set -- $line
    eval 'known=$w_'$1
    [ -z "$known" ] || [ "\${known%% *}" = "$6" ] || unset "w_$1"
  done
  found=yes
  while [ "$found" ]; do
    found=
    IFS=$newline
    for line in $list; do
      unset IFS
      set -- $line
      eval 'have=$m_'$1' leader=$w_'$1' group=$w_'$4' session=$w_'$5' seen=$t_'$1' above=$m_'$3
      [ -z "$have" ] || continue
      if [ "$leader" ]; then owner=$1
      elif [ "$session" ]; then owner=$5
      elif [ "$group" ]; then owner=$4
      elif [ "$seen" ] && [ "\${seen#* }" = "$6" ]; then owner=\${seen% *}
      elif [ "$above" ]; then owner=$above
      else continue
      fi
      found=yes
      members="$members $1"
      eval "m_$1=$owner p_$1=$3 t_$1='$owner $6'"
      eval 'o_'$owner'="$o_'$owner' $1"'
      [ "$1" = "$owner" ] || eval 'k_'$3'="$k_'$3' $1"'
    done
  done
  unset IFS
}

# ask PID SIGNAL END: it and its chain of only children, each once, END the last.
ask() {
  next=$1 signal=$2 end=$3 steps=0
  while [ $steps -lt 100 ]; do
    steps=$((steps + 1))
    eval 'asked=$a_'$next
    [ "$asked" ] || { eval "a_$next=yes"; kill -"$signal" "$next" 2>/dev/null; }
    [ "$next" = "$end" ] && return
    eval 'set -- $k_'$next
    [ $# = 1 ] || return
    next=$1
  done
}

members= looks=0
clock; start=$now
while [ "$workers" ]; do
  look
  clock
  left=
  for worker in $workers; do
    eval 'known=$w_'$worker' end=$e_'$worker' leads=$m_'$worker' own=$o_'$worker
    [ "$known" ] || continue
    set -- $known
    if [ -z "$own" ]; then unset "w_$worker"; continue; fi
    left="$left $worker"
    limit=$3
    [ "$limit" -lt 5000 ] || limit=5000
    if [ $(((now - start) * 10)) -ge "$limit" ]; then
      kill -9 $own 2>/dev/null
    elif [ "$leads" ]; then
      [ $looks != 0 ] || ask "$worker" "$2" "$end"
    else
      for pid in $own; do
        eval 'parent=$p_'$pid
        eval 'above=$m_'$parent
        [ "$above" ] || ask "$pid" "$2" "$end"
      done
    fi
  done
  workers=$left
  looks=$((looks + 1))
  # After a minute: what cannot be killed then never ends.
  [ $looks -lt 600 ] || break
  [ -z "$workers" ] || sleep 0.1
done

# Only what started after the master can be its own.
round=0
while [ $round -lt 20 ]; do
  processes
  strays=
  IFS=$newline
  for line in $list; do
    unset IFS
    set -- $line
    [ "$6" -ge "$born" ] || continue
    tr '\\000' '\\n' <"/proc/$1/environ" 2>/dev/null | grep -qxF "$mark" && strays="$strays $1"
  done
  unset IFS
  [ "$strays" ] || exit 0
  kill -9 $strays 2>/dev/null
  round=$((round + 1))
  sleep 0.1
done
`;
