#!/bin/sh
# A whole notifier, with the stock nats command: neither an update nor the end of the system begins while a backup is
# being made, which a file says. NATS_URL says where the bus is, if not at 127.0.0.1:4222.
set -eu
file=${BACKUP_FILE:-/run/backup.pid}

if [ "${1-}" = answer ]; then # one answer
	if [ -e "$file" ]; then
		echo '{"answer":"defer","reason":"a backup is being made","retry_us":10000000}'
	else
		echo '{"answer":"accept"}'
	fi
	exit
fi

# First be there to be asked, then register; and again, in case the daemon has been started anew.
nats reply sys.notify.backup --command "$0 answer" &
trap 'kill $!' EXIT
trap exit INT TERM
while sleep 2; do
	nats req sys.api.notifier.register.backup --raw -H Content-Type:application/json \
		'{"format":"json","states":["AWAITING_MODAL_UPDATING","CONTEXT_DESTROYING"]}'
done
