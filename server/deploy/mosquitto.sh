#!/bin/sh
# Runs mosquitto with the files of `linnet server broker-config`, once the server has written its list
# of revoked devices, and lets it read that list again whenever it changes.
set -eu
list=/var/lib/linnet-broker/device-ca.crl
until [ -s "$list" ]; do sleep 1; done
mosquitto -c /etc/mosquitto/linnet/linnet.conf &
broker=$!
trap 'kill "$broker"' TERM INT
known=$(cksum "$list")
while kill -0 "$broker" 2>/dev/null; do
  sleep 5 &
  wait $! || true
  now=$(cksum "$list" 2>/dev/null || echo "$known")
  [ "$now" = "$known" ] || kill -HUP "$broker"
  known=$now
done
wait "$broker"
