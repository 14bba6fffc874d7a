# What the scripts share: they note how they were called, and take their
# arguments apart.
set -eu
printf '%s\0' "$(basename "$0")" "$@" '' >>"$STATE/calls"
name= domain= config=
while [ $# -gt 0 ]; do
	case $1 in
	--name) name=$2 ;;
	--base-domain) domain=$2 ;;
	--application-config | --deployment-config | --app-env-override | --deployment-override | --tag) config="$config$1 $2
" ;;
	esac
	shift 2
done
up="$STATE/$name.up" data="$STATE/$name.data"
