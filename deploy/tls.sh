#!/bin/sh
# Makes a certificate that signs itself, with its key, for trying out deploy/compose.tls.yml: tls_pem in
# deploy/secrets or the folder that is named second. Callers have to be told to trust it. For others to
# call, put a real one there: the certificate, those between it and the root, and the key, in one file.
set -eu
name=${1:?usage: deploy/tls.sh NAME [FOLDER]}
folder=${2:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"
if [ -e "$folder/tls_pem" ]; then
  echo "$folder/tls_pem is there already; remove it first" >&2
  exit 1
fi
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=$name" \
  -addext "subjectAltName=DNS:$name" -keyout "$folder/tls_pem.key" -out "$folder/tls_pem.new" 2>/dev/null
cat "$folder/tls_pem.key" >> "$folder/tls_pem.new"
rm "$folder/tls_pem.key"
# As deploy/secrets.sh does: the folder keeps other users out.
chmod 644 "$folder/tls_pem.new"
mv "$folder/tls_pem.new" "$folder/tls_pem"
echo "$folder/tls_pem" >&2
