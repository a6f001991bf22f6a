#!/bin/sh
# Starts Garage AI:  ./start.sh [gai up options]   |   ./start.sh join URL TOKEN [...]
# The first time it makes .venv; after that it goes straight to `gai`.
#
# In a checkout it installs the checkout. Alone, in a folder of its own, it installs the released
# package; GAI_PACKAGE=WHEEL[#sha256=HEX], a path or an address, installs that one in either case.
#
# `prepare SET` returns when $root/.venv holds that set of packages; see `locks_of`. How it stays whole:
#   .venv.lock          flock, also held by pip or uv themselves: an installer whose shell was killed
#                       is waited for, not raced
#   .venv/.unfinished   exists while an install is under way; found later, .venv is made anew
#   .venv/.ready.SET    written last: what was installed, from what, for which Python and path
#   .venv/.package/     alone: the wheel, checked, and the locks it carries
set -eu

# What is released: ADDRESS#sha256=HEX, written here by scripts/release.sh. Empty: nothing is yet.
released=''

self=$0
[ ! -h "$self" ] || self=$(readlink -f -- "$self")
root=$(CDPATH='' cd -- "$(dirname -- "$self")" && pwd -P)

venv=$root/.venv
log=$venv/install.log
store=$venv/.package
oldest=11 newest=14 # Python 3.x for which every locked package has a wheel

# What a user's shell carries for other programs must not reach this environment.
unset PYTHONHOME PYTHONPATH
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

case ${LC_ALL:-${LC_MESSAGES:-${LANG:-}}} in sv*) swedish=1 ;; *) swedish= ;; esac

# text ENGLISH SWEDISH
text() { if [ "$swedish" ]; then printf '%s' "$2"; else printf '%s' "$1"; fi; }

# All of this goes to stderr: stdout belongs to `gai`.
say() { printf '%s\n' "$(text "$1" "$2")" >&2; }

locks_of() {
  case $1 in
  base) echo node ;;
  node) echo node engine model ;;
  up) echo up model ;;
  dev) echo dev model ;;
  esac
}

# Megabytes to download, so that nobody wonders about a slow line; a fresh install's log tells them.
size_of() {
  case $1 in
  base) echo 13 ;;
  node) echo 140 ;;
  up) echo 160 ;;
  dev) echo 230 ;;
  esac
}

# Each set holds all sets before it, so that `./test.sh` and then `./start.sh` install once.
sets_holding() {
  case $1 in
  base) echo base node up dev ;;
  node) echo node up dev ;;
  up) echo up dev ;;
  dev) echo dev ;;
  esac
}

# Sets $package to the wheel that is wanted ('' for the checkout, `kept` for the one that is here
# already) and $sha256 to what it must be, where that is known.
find_package() {
  package=${GAI_PACKAGE-} sha256=''
  if [ -z "$package" ]; then
    [ ! -f "$root/requirements/node.lock" ] || return 0
    package=${released:-kept}
  fi
  case $package in
  *'#sha256='*)
    sha256=${package##*'#sha256='}
    package=${package%'#sha256='*}
    ;;
  esac
  case $package in
  kept) return 0 ;;
  http://* | https://*)
    [ "$sha256" ] || refuse "$package needs its hash: GAI_PACKAGE=$package#sha256=HEX" \
      "$package behöver sin kontrollsumma: GAI_PACKAGE=$package#sha256=HEX"
    ;;
  /*) ;;
  *) package=$PWD/$package ;;
  esac
  case $package in
  *://*.whl) ;;
  *.whl)
    [ -f "$package" ] || refuse "There is no $package." "Det finns ingen $package."
    found=$(sha256sum <"$package" | cut -c 1-64)
    [ "${sha256:-$found}" = "$found" ] ||
      refuse "$package has the SHA-256 $found instead of $sha256: it is not used." \
        "$package har kontrollsumman $found i stället för $sha256: den används inte."
    ;;
  *) refuse "$package is not a wheel (.whl)." "$package är ingen wheel (.whl)." ;;
  esac
}

refuse() {
  say "$1" "$2"
  exit 1
}

# What was installed, in one line: its path, its Python, and what it came from.
fingerprint() {
  printf '%s %s ' "$root" "$(readlink -f -- "$venv/bin/python")"
  case $package in
  '') cat "$root/pyproject.toml" "$root"/requirements/*.lock | cksum ;;
  kept) [ ! -r "$store/sha256" ] || cat "$store/sha256" ;;
  *://*) echo "$sha256" ;;
  *) echo "$found" ;;
  esac
}

is_ready() {
  [ -x "$venv/bin/gai" ] && [ -x "$venv/bin/python" ] && [ ! -e "$venv/.unfinished" ] || return 1
  current=$(fingerprint)
  for holder in $(sets_holding "$1"); do
    [ -r "$venv/.ready.$holder" ] || continue
    IFS= read -r seen <"$venv/.ready.$holder"
    [ "$seen" != "$current" ] || return 0
  done
  return 1
}

# judge PYTHON: 0 it will do, 3 wrong version, 4 venv or pip is missing, 127 not there.
judge() {
  "$1" -I -c "
import sys
if not (3, $oldest) <= sys.version_info[:2] <= (3, $newest):
    sys.exit(3)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(4)" 2>/dev/null
}

# Sets $python to the first usable interpreter, or $lacking to why there is none.
find_python() {
  python='' lacking=python
  for name in python3 python3.13 python3.12 python3.14 python3.11; do
    if judge "$name"; then
      python=$name lacking=''
      return 0
    else
      case $? in
      3) [ "$lacking" != python ] || lacking=version ;;
      4) case $lacking in *-venv) ;; *) lacking=$name-venv ;; esac ;;
      esac
    fi
  done
  return 1
}

# The llama.cpp wheel expects the system's OpenMP runtime, which a bare system lacks.
has_openmp() {
  [ "$(uname -s)" = Linux ] || return 0
  for name in ${python:+"$python"} python3 "$venv/bin/python"; do
    "$name" -I -c '' 2>/dev/null || continue
    "$name" -I -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null
    return
  done
  ldconfig -p 2>/dev/null | grep -q 'libgomp\.so\.1'
}

has() { command -v "$1" >/dev/null 2>&1; }

# install_line LACKING OPENMP: the one line that installs what is missing ('' for what is not).
install_line() {
  packages=$2
  if has apt-get; then
    case $1 in
    '') ;;
    version)
      for minor in 13 12 11 none; do
        [ $minor = none ] || ! apt-cache show "python3.$minor-venv" >/dev/null 2>&1 || break
      done
      [ $minor != none ] || { uv_line && return; }
      packages="python3.$minor-venv $2"
      ;;
    python) packages="python3-venv $2" ;;
    *) packages="$1 $2" ;;
    esac
    echo "${sudo}apt-get update && ${sudo}apt-get install -y" $packages
  elif has dnf; then
    case $1 in '') ;; version) packages="python3.12 $2" ;; *) packages="python3 python3-pip $2" ;; esac
    echo "${sudo}dnf install -y" $packages | sed 's/libgomp1/libgomp/'
  elif has pacman; then
    echo "${sudo}pacman -S --needed --noconfirm" ${1:+python} $packages | sed 's/libgomp1/gcc-libs/'
  elif has zypper; then
    echo "${sudo}zypper --non-interactive install" ${1:+python311} $packages
  else
    uv_line
  fi
}

uv_line() { echo 'curl -LsSf https://astral.sh/uv/install.sh | sh && export PATH="$HOME/.local/bin:$PATH"'; }

# require SET: a uv or a Python is there and the libraries are; otherwise says the line and ends.
require() {
  lacking=
  [ "$uv" ] || find_python || :
  openmp=
  [ "$1" = base ] || has_openmp || openmp=libgomp1
  [ "$lacking$openmp" ] || return 0
  sudo='sudo '
  [ "$(id -u)" != 0 ] || sudo=
  say "Garage AI needs Python 3.$oldest to 3.$newest with venv and pip${openmp:+, and libgomp}. This line installs what is missing:" \
    "Garage AI behöver Python 3.$oldest till 3.$newest med venv och pip${openmp:+, samt libgomp}. Den här raden installerar det som saknas:"
  printf '\n    %s\n\n' "$(install_line "$lacking" "$openmp")" >&2
  say 'Then start again.' 'Starta sedan igen.'
  exit 1
}

# step ENGLISH SWEDISH COMMAND...: runs it into the log, shows that time passes, ends all if it fails.
step() {
  number=$((number + 1))
  label="[$number/$steps] $(text "$1" "$2")"
  shift 2
  began=$(date +%s)
  printf '%s ...' "$label" >&2
  printf '\n$ %s\n' "$*" >>"$log"
  (cd "$root" && "$@") </dev/null >>"$log" 2>&1 &
  installer=$!
  ticker=
  if [ -t 2 ]; then
    while sleep 1 && kill -0 $$ 2>/dev/null; do
      printf '\r%s ... %s s' "$label" $(($(date +%s) - began)) >&2
    done 9>&- &
    ticker=$!
  fi
  status=0
  wait "$installer" || status=$?
  installer=
  [ -z "$ticker" ] || kill "$ticker" 2>/dev/null || :
  [ ! -t 2 ] || printf '\r%s ...' "$label" >&2
  [ "$status" = 0 ] || failed
  printf ' %s (%s s)\n' "$(text done klart)" $(($(date +%s) - began)) >&2
}

failed() {
  printf ' %s\n\n' "$(text FAILED MISSLYCKADES)" >&2
  tail -n 12 "$log" | sed 's/^/    /' >&2
  printf '\n' >&2
  say "The whole log is in $log" "Hela loggen finns i $log"
  say 'Most often the network was away or the disk is full. Put that right and start again.' \
    'Oftast var nätet borta eller disken full. Rätta till det och starta igen.'
  exit 1
}

stopped() {
  [ -z "${installer-}" ] || kill -- "${setsid:+-}$installer" 2>/dev/null ||
    kill "$installer" 2>/dev/null || :
  [ -z "${ticker-}" ] || kill "$ticker" 2>/dev/null || :
  printf '\n' >&2
  say 'Stopped. Start again to finish.' 'Avbrutet. Starta igen för att göra klart.'
  exit 130
}

# The next three run in a subshell of their own. setsid puts what they start in one process group, so
# that `stopped` reaches the builds that pip and uv start as well.
make_venv() {
  if [ "$uv" ]; then
    exec $setsid uv venv --quiet --no-project --allow-existing --python "$python" "$venv"
  else
    exec $setsid "$python" -m venv "$venv"
  fi
}

# Everything is in the locks, with hashes: nothing is resolved and nothing else is fetched; what has
# to be built, Garage AI itself, is built with what build.lock brought.
pip_install() {
  if [ "$uv" ]; then
    exec $setsid uv pip install --python "$venv/bin/python" --no-deps --no-build-isolation "$@"
  else
    exec $setsid "$venv/bin/python" -m pip install --no-input --progress-bar off --no-deps \
      --no-build-isolation "$@"
  fi
}

install_locks() {
  locks=$root/requirements
  [ -z "$package" ] || locks=$store
  for lock in "$@"; do
    shift
    set -- "$@" -r "$locks/$lock.lock"
  done
  pip_install --require-hashes "$@"
}

# Brings the wheel here, and takes its locks out of it once it is what it must be.
fetch_package() {
  name=${package##*/}
  rm -rf "$store/new"
  mkdir -p "$store/new"
  case $package in
  *://*) download "$package" "$store/new/$name" ;;
  *) cp -- "$package" "$store/new/$name" ;;
  esac || return
  "$venv/bin/python" -I -c '
import hashlib, pathlib, sys, zipfile
wheel, wanted = pathlib.Path(sys.argv[1]), sys.argv[2]
found = hashlib.sha256(wheel.read_bytes()).hexdigest()
if wanted not in ("", found):
    sys.exit(f"{wheel.name} has the SHA-256 {found} instead of {wanted}: it is not used.")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if name.endswith(".lock"):
            (wheel.parent / pathlib.PurePosixPath(name).name).write_bytes(archive.read(name))
(wheel.parent / "sha256").write_text(found + "\n")' "$store/new/$name" "$sha256" || return
  rm -f "$store"/*.whl "$store"/*.lock "$store/sha256"
  mv "$store/new"/* "$store"
  rmdir "$store/new"
}

# download ADDRESS FILE: its hash is checked afterwards, whatever way it came. A line that stands
# still is given up, and `stopped` ends it: what goes on alone would hold the lock for ever.
download() {
  if has curl; then
    set -- curl --fail --silent --show-error --location --retry 3 --connect-timeout 30 \
      --speed-limit 1 --speed-time 30 --output "$2" "$1"
  elif has wget; then
    set -- wget --no-verbose --tries=3 --timeout=30 --output-document="$2" "$1"
  else
    set -- "$venv/bin/python" -I -c 'import socket, sys, urllib.request as r
socket.setdefaulttimeout(30)
r.urlretrieve(*sys.argv[1:])' "$1" "$2"
  fi
  # A shell that waits hears a signal at once, and one that runs a command only after it.
  "$@" &
  fetching=$!
  trap 'kill "$fetching"; exit 143' TERM
  wait "$fetching"
}

install_package() {
  if [ "$package" ]; then pip_install --force-reinstall "$store"/*.whl; else pip_install -e "$root"; fi
}

# Whether .venv as it stands can be installed into; one that has moved or changed its Python cannot.
is_usable() {
  [ ! -e "$venv/.unfinished" ] || return 1
  judge "$venv/bin/python" || [ $? = 4 ] || return 1
  [ "$uv" ] || "$venv/bin/python" -I -m pip --version >/dev/null 2>&1 || return 1
  for stamp in "$venv"/.ready.*; do
    [ -e "$stamp" ] || continue
    IFS= read -r seen <"$stamp"
    case $seen in "$root $(readlink -f -- "$venv/bin/python") "*) ;; *) return 1 ;; esac
  done
}

# Released by close: an installer that outlives this shell holds it on.
lock() {
  exec 9>>"$root/.venv.lock"
  has flock || return 0
  flock -n 9 && return
  say 'Another start is installing; waiting for it ...' 'En annan start installerar; väntar på den ...'
  flock 9
}

unlock() { exec 9>&-; }

find_uv() {
  uv='' python=''
  uv --version >/dev/null 2>&1 || return 0
  range=">=3.$oldest,<3.$((newest + 1))"
  if ! python=$(uv python find --quiet --system --no-project "$range" 2>/dev/null); then
    say 'Fetching a Python with uv ...' 'Hämtar en Python med uv ...'
    uv python install --quiet "3.$((newest - 1))" >/dev/null 2>&1 || return 0
    python=$(uv python find --quiet --system --no-project "$range" 2>/dev/null) || return 0
  fi
  uv=1
}

prepare() {
  find_package
  ! is_ready "$1" || return 0
  check_place
  lock
  if ! is_ready "$1"; then
    find_uv
    require "$1"
    install "$1"
  fi
  unlock
}

# Nothing is made where it cannot be, nothing without a package, and nobody else's .venv is touched.
check_place() {
  [ -w "$root" ] || refuse "$root cannot be written to; put start.sh in a folder of your own." \
    "Det går inte att skriva i $root; lägg start.sh i en egen mapp."
  for each in "$venv" "$root/.venv.lock"; do
    back="sudo chown -R $(id -un) '$venv' '$root/.venv.lock'"
    [ ! -e "$each" ] || [ -w "$each" ] ||
      refuse "$each cannot be written to; perhaps a start with sudo made it. This makes it yours again: $back" \
        "Det går inte att skriva i $each; kanske gjordes den av en start med sudo. Så blir den din igen: $back"
  done
  [ "$package" ] || return 0
  for stamp in "$venv"/.ready.* "$venv/.unfinished" "$root/.venv.lock"; do
    [ ! -e "$stamp" ] || { stamp=ours && break; }
  done
  [ "$stamp" = ours ] || [ ! -e "$venv" ] ||
    refuse "$venv was made by another program; put start.sh in a folder of its own." \
      "$venv är gjord av ett annat program; lägg start.sh i en egen mapp."
  [ "$package" != kept ] || [ -r "$store/sha256" ] || unreleased
}

unreleased() {
  say 'No package of Garage AI is released yet, so start.sh alone has nothing to install.' \
    'Inget paket av Garage AI är utgivet än, så start.sh har på egen hand inget att installera.'
  say 'Take a copy of the whole code and run its ./start.sh, or name a wheel: GAI_PACKAGE=PATH ./start.sh' \
    'Hämta en kopia av hela koden och kör dess ./start.sh, eller ange en wheel: GAI_PACKAGE=SÖKVÄG ./start.sh'
  exit 1
}

install() {
  number=0 steps=3 setsid=
  ! has setsid || setsid=setsid
  trap stopped INT TERM HUP
  if ! is_usable; then
    steps=4
    # What was fetched and checked is as good as before.
    [ ! -d "$venv" ] || find "$venv" -mindepth 1 -maxdepth 1 ! -name .package -exec rm -rf {} +
  fi
  # An engine in its sandbox is another user, who has to read what is installed here.
  mask=$(umask)
  umask 022
  mkdir -p "$venv"
  : >"$venv/.unfinished"
  printf '%s\n' "$(date) $1" >"$log"
  [ $steps = 3 ] || step 'Making the Python environment in .venv' 'Gör Python-miljön i .venv' make_venv
  case $package in
  '') step 'Fetching the build tools' 'Hämtar byggverktygen' install_locks build ;;
  kept) step 'Taking the package that is here' 'Tar paketet som finns här' true ;;
  *) step 'Fetching and checking the package' 'Hämtar och kontrollerar paketet' fetch_package ;;
  esac
  size=$(size_of "$1")
  step "Fetching packages, $size MB" "Hämtar paket, $size MB" install_locks $(locks_of "$1")
  step 'Installing Garage AI' 'Installerar Garage AI' install_package
  fingerprint >"$venv/.ready.$1"
  rm "$venv/.unfinished"
  umask "$mask"
  trap - INT TERM HUP
}

main() {
  if [ "${1-}" != join ]; then
    prepare up
    exec "$venv/bin/gai" up "$@"
  fi
  shift
  # A volunteer who lends a server of their own has no use for llama.cpp and its 100 MB.
  case " $* " in
  *" --engine external "* | *" --engine=external "*) prepare base ;;
  *) prepare node ;;
  esac
  exec "$venv/bin/gai" node join "$@"
}

# test.sh reads this file for `prepare` alone.
[ "${self##*/}" = test.sh ] || main "$@"
