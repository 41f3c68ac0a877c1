#!/usr/bin/env bash
# Makes what is recorded in the folder beside this with the real cosign, without network:
#
#	testdata/cosign/make.sh COSIGN testdata/cosign/v2.6.5
#
# COSIGN is cosign v2.6.5, as `go install github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5`
# builds it (.ci/test-cosign does that, and holds what it makes against what is recorded).
# Needs openssl for the keys that cosign imports. The keys are made for this and used for
# nothing else; their passphrase is "test".
set -euo pipefail

cosign=$(realpath "$1")
mkdir -p "$2"
cd "$2"
export COSIGN_PASSWORD=test COSIGN_YES=true HOME="$PWD" TUF_ROOT="$PWD/tuf"

printf 'firmware that cosign signed\n' >fw.bin
printf '{"buildDefinition":{"buildType":"https://builder.example/type/v1","externalParameters":{"source":"https://git.example/fw"},"resolvedDependencies":[{"uri":"https://git.example/fw","digest":{"gitCommit":"5d1a3bd2aa0e4b5c6d7e8f901234567890abcdef"}}]},"runDetails":{"builder":{"id":"https://builder.example/v1"}}}\n' >predicate.json

openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256.pem
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.pem
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out p521.pem
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa2048.pem
openssl genpkey -quiet -algorithm ED25519 -out ed25519.pem

for kind in p256 p384 p521 rsa2048 ed25519; do
	"$cosign" import-key-pair --key "$kind.pem" --output-key-prefix "$kind" 2>/dev/null
	rm "$kind.pem"
	by=(--key "$kind.key" --tlog-upload=false)
	if [[ $kind != ed25519 ]]; then # there cosign 2.6.5 ends in a panic without a log
		"$cosign" sign-blob "${by[@]}" --output-signature "$kind.sig" fw.bin >/dev/null 2>&1
		"$cosign" sign-blob "${by[@]}" --bundle "$kind.legacy.json" fw.bin >/dev/null 2>&1
		"$cosign" sign-blob "${by[@]}" --new-bundle-format --bundle "$kind.sigstore.json" fw.bin >/dev/null 2>&1
	fi
	for form in legacy sigstore; do
		new=()
		[[ $form == legacy ]] || new=(--new-bundle-format)
		"$cosign" attest-blob "${by[@]}" "${new[@]}" --type slsaprovenance1 --predicate predicate.json \
			--bundle "$kind.attestation.$form.json" fw.bin >/dev/null 2>&1
	done
done
rm -rf tuf .sigstore ./*.key # nobody signs with them again
