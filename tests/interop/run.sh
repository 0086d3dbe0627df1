#!/bin/sh
# Keyward and an outsider's Python read each other's envelopes. Run by tests/interop.rs:
#     softhsm/with tests/interop/run.sh KEYWARD PYTHON
# shellcheck disable=SC2086 # arguments are kept as words on purpose
set -euf

keyward=$1
python=$2
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
cd "$KEYWARD_TEST_DIR"

die() {
    echo "interop: $what: $*" >&2
    exit 1
}

outsider() {
    "$python" "$here/envelope.py" "$@"
}

same() {
    cmp plain "$1" || die "$1 differs from the plaintext"
}

# Keyward must refuse to decrypt, with this status, and leave no output.
refuses() { # STATUS ARGUMENT…
    expected=$1
    shift
    status=0
    "$keyward" decrypt "$@" -o refused 2>refused.err || status=$?
    [ "$status" -eq "$expected" ] || die "keyward decrypt exits with $status, not $expected: $(cat refused.err)"
    [ ! -e refused ] || die "keyward decrypt left an output behind"
}

# Both ways, with the arguments in $context and these for the key.
both_ways() { # WRITE-KEYWARD WRITE-OUTSIDER READ, each words
    rm -f sealed-by-keyward sealed-by-outsider opened-by-keyward opened-by-outsider
    "$keyward" encrypt $1 $context plain -o sealed-by-keyward
    outsider read $3 $context sealed-by-keyward opened-by-outsider
    same opened-by-outsider

    outsider write $2 $context plain sealed-by-outsider
    "$keyward" decrypt $3 $context sealed-by-outsider -o opened-by-keyward
    same opened-by-keyward
    "$keyward" inspect sealed-by-outsider >/dev/null
}

# The last byte of $1 flipped, into $2.
flip_last_byte() {
    size=$(wc -c <"$1")
    last=$(tail -c 1 "$1" | od -An -tu1 | tr -d ' ')
    {
        head -c "$((size - 1))" "$1"
        # shellcheck disable=SC2059 # the format is the byte
        printf "\\$(printf %03o "$((last ^ 1))")"
    } >"$2"
}

what=example
"$python" "$here/example.py" --check "$here/../../docs/format.md"

what=keys
for algorithm in aes-gcm aes-kw rsa-oaep-sha1; do
    "$keyward" key create "$algorithm" --algorithm "$algorithm" >/dev/null
done
head -c 32 /dev/urandom >customer.key
chmod 600 customer.key

for size in 0 1 16384 100000; do
    head -c "$size" /dev/urandom >plain
    for context in '' '--context tenant=acme --context Zürich=ja'; do
        for algorithm in aes-gcm aes-kw rsa-oaep-sha1; do
            what="$algorithm, $size bytes, context '$context'"
            both_ways "--key $algorithm" "--key $algorithm:1 --algorithm $algorithm" "--key $algorithm"
            refuses 4 --key "$algorithm" --context tenant=other sealed-by-outsider
            flip_last_byte sealed-by-outsider altered
            refuses 4 --key "$algorithm" $context altered
        done
        what="customer key, $size bytes, context '$context'"
        both_ways '--customer-key customer.key' '--customer-key customer.key' '--customer-key customer.key'
        # Not a matter of keys: the caller chooses the mode, and chose the other one.
        refuses 2 $context sealed-by-outsider
    done
done

what='two keys in one file'
context='--context tenant=acme'
outsider write --key aes-gcm:1 --key aes-gcm:1 $context plain sealed-by-outsider
"$keyward" decrypt $context sealed-by-outsider -o opened
same opened
rm -f opened

what='pairs that the body alone is bound to'
context='--context keyward:body:path=a/b --context tenant=acme'
outsider write --key aes-gcm:1 $context plain sealed-by-outsider
# Only Keyward itself sets such pairs, so the context cannot be named here.
"$keyward" decrypt --any-context sealed-by-outsider -o opened
same opened
rm -f opened
# What Keyward wraps anew, the outsider unwraps.
"$keyward" key create other --algorithm aes-kw >/dev/null
"$keyward" rewrap --key other --any-context sealed-by-outsider >/dev/null
outsider read --key other $context sealed-by-outsider opened
same opened
rm -f opened
context='--context tenant=acme'

what='rotation and rewrapping of an outsider'\''s file'
outsider write --key aes-gcm:1 $context plain sealed-by-outsider
"$keyward" key rotate aes-gcm >/dev/null
"$keyward" rewrap --key aes-gcm $context sealed-by-outsider >/dev/null
outsider read --key aes-gcm $context sealed-by-outsider opened
same opened
"$keyward" key disable aes-gcm:1 >/dev/null
outsider read --key aes-gcm $context sealed-by-outsider opened
same opened
