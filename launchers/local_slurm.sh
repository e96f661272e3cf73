#!/usr/bin/env bash
# A SLURM cluster of one node, this machine, to try a sweep on before it goes to a real one. Debian or Ubuntu, as root.
#   eval "$(launchers/local_slurm.sh start)"   # installs SLURM where it is missing; this shell then uses the new cluster
#   launchers/local_slurm.sh status
#   launchers/local_slurm.sh stop
#
# All it writes lies in one folder: ~/.cache/museg/slurm, or the second argument. /etc/slurm is not touched, and a cluster that
# this machine belongs to goes on beside it.
set -euo pipefail

action=${1:-help}
folder=$(realpath -m "${2:-$HOME/.cache/museg/slurm}")
export SLURM_CONF="$folder/slurm.conf"
node=$(hostname -s)

say() { echo "$*" >&2; }

fail() {
  say "error: $*"
  exit 1
}

install_slurm() {
  command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return
  command -v apt-get >/dev/null || fail "slurmctld, slurmd and munged are missing: install them with this system's packages"
  say "installing slurm-wlm and munge"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends slurm-wlm munge >&2
}

num_cpus() {
  env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc # which would obey them
}

free_ports() { # two of them: of slurmctld and of slurmd
  python3 - <<'PYTHON'
import socket

sockets = [socket.socket() for _ in range(2)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PYTHON
}

write_configuration() {
  local controller_port node_port memory_mib
  read -r controller_port node_port < <(free_ports)
  memory_mib=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
  # A requeued job waits until its credential of before has expired, and until the scheduler looks again: 120 and 60 seconds
  # by default, a few here. What is not said is SLURM's default, so that jobs meet here what they meet elsewhere.
  cat >"$SLURM_CONF" <<CONF
ClusterName=museg
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
KillWait=5
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(num_cpus) RealMemory=$memory_mib State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=$node MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
CONF
}

is_running() { # the daemon whose process id stands in this file; an ended one may stay a zombie until somebody reaps it
  local pid
  pid=$(cat "$folder/$1.pid" 2>/dev/null) || return 1
  [ -n "$pid" ] && case "$(ps -o stat= -p "$pid")" in "" | Z*) return 1 ;; esac
}

start_munge() {
  is_running munged && return
  [ -f "$folder/munge.key" ] || (umask 077 && dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 status=none)
  # --force: the socket lies below a home folder, which munge would only have where everybody may look
  munged --force --num-threads=2 --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" 2>>"$folder/munged.log"
}

wait_for_node() {
  for _ in $(seq 100); do
    case "$(sinfo --noheader --partition=main --format=%t 2>/dev/null)" in
    idle | mix | alloc) return ;;
    esac
    sleep 0.2
  done
  fail "the node did not come up: see $folder/slurmctld.log and $folder/slurmd.log"
}

start() {
  [ "$(id -u)" -eq 0 ] || fail "the daemons of SLURM start as root: sudo $0 start $folder"
  install_slurm
  mkdir -p "$folder/state" "$folder/spool"
  if ! is_running slurmctld; then
    write_configuration
    start_munge
    slurmctld -c # forgets the jobs of the last time
  fi
  is_running slurmd || slurmd -N "$node"
  wait_for_node
  say "a SLURM cluster of one node runs on this machine ($(num_cpus) CPUs); its files are in $folder"
  echo "export SLURM_CONF=$(printf %q "$SLURM_CONF")"
}

stop() {
  if is_running slurmctld; then
    scancel --quiet --state=PENDING || true
    scancel --quiet --state=RUNNING --full --signal=KILL || true
    for _ in $(seq 100); do # slurmd waits for what runs on it
      [ -z "$(squeue --noheader)" ] && break
      sleep 0.1
    done
  fi
  for daemon in slurmd slurmctld munged; do
    is_running "$daemon" || continue
    kill "$(cat "$folder/$daemon.pid")"
    for _ in $(seq 100); do
      is_running "$daemon" || continue 2
      sleep 0.1
    done
    kill -KILL "$(cat "$folder/$daemon.pid")"
  done
  say "stopped; $folder may be deleted"
}

status() {
  for daemon in munged slurmctld slurmd; do
    is_running "$daemon" || fail "$daemon is not running: $0 start $folder"
  done
  sinfo
  squeue --array
}

case "$action" in
start | stop | status) "$action" ;;
*) sed -n '2,8s/^# \{0,1\}//p' "$0" ;;
esac
