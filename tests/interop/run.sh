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

attacker() { # EDIT INPUT OUTPUT
    "$python" "$here/attacker.py" "$@"
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

# Both readers must refuse.
both_refuse() { # KEY ARGUMENT…, where KEY is words
    key=$1
    shift
    refuses 4 $key "$@"
    if outsider read $key "$@" refused 2>refused.err; then
        die "the outsider reads what it has to refuse"
    fi
    grep -q '^envelope.py: refused: ' refused.err || die "the outsider fails: $(cat refused.err)"
}

# What the slots of $1 say of themselves.
shows() { # FILE EXPECTED
    shown=$(outsider show "$1")
    [ "$shown" = "$2" ] || die "$1 shows '$shown', not '$2'"
}

# Both ways, with the arguments in $context and $form and these for the key.
both_ways() { # WRITE-KEYWARD WRITE-OUTSIDER READ, each words
    rm -f sealed-by-keyward sealed-by-outsider opened-by-keyward opened-by-outsider
    "$keyward" encrypt $1 $context $form plain -o sealed-by-keyward
    outsider read $3 $context sealed-by-keyward opened-by-outsider
    same opened-by-outsider

    outsider write $2 $context $form plain sealed-by-outsider
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

# Every kind of key, with and without a context, in the form $form.
every_key() {
    for context in '' '--context tenant=acme --context Zürich=ja'; do
        for algorithm in aes-gcm aes-kw rsa-oaep-sha1; do
            what="$algorithm $form, $size bytes, context '$context'"
            both_ways "--key $algorithm" "--key $algorithm:1 --algorithm $algorithm" "--key $algorithm"
            refuses 4 --key "$algorithm" --context tenant=other sealed-by-outsider
            flip_last_byte sealed-by-outsider altered
            refuses 4 --key "$algorithm" $context altered
        done
        what="customer key $form, $size bytes, context '$context'"
        both_ways '--customer-key customer.key' '--customer-key customer.key' '--customer-key customer.key'
        # Not a matter of keys: the caller chooses the mode, and chose the other one.
        refuses 2 $context sealed-by-outsider
    done
}

for size in 0 1 16384 100000; do
    head -c "$size" /dev/urandom >plain
    form=''
    every_key
done
# The body is the same in both forms.
size=1
head -c "$size" /dev/urandom >plain
form=--compact
every_key

what='the length of a compact file'
rm -f compact
"$keyward" encrypt --key aes-gcm --compact plain -o compact
[ "$(wc -c <compact)" -eq 230 ] || die "$(wc -c <compact) bytes for a plaintext of one"

what='occasions'
context='--context tenant=acme'
for form in '' --compact; do
    rm -f sealed
    "$keyward" encrypt --key rsa-oaep-sha1 --key aes-gcm --key aes-kw $context $form plain -o sealed
    shows sealed 'generation 1, entries 1:4 2:1 2:2'
    for algorithm in rsa-oaep-sha1 aes-gcm aes-kw; do
        outsider read --key "$algorithm" $context sealed opened
        same opened
        rm -f opened
    done
done

for form in '' --compact; do
    outsider write --key aes-gcm:1 --key aes-gcm:1 $context $form plain sealed
    for edit in tag generation occasion entry order drop both-forms unknown-flag; do
        what="edit '$edit' of an attacker without a key, form '$form'"
        attacker "$edit" sealed altered
        both_refuse '--key aes-gcm' $context altered
        cp altered rewrapped
        if "$keyward" rewrap --key aes-kw $context rewrapped >/dev/null 2>&1; then
            die 'keyward rewraps it'
        fi
        cmp altered rewrapped || die 'keyward changes what it refuses to rewrap'
    done
    outsider write --customer-key customer.key $context $form plain sealed
    for edit in tag generation; do
        what="edit '$edit' under a customer key, form '$form'"
        attacker "$edit" sealed altered
        both_refuse '--customer-key customer.key' $context altered
    done
done

what='a later slot copy with a wrong tag beside a right one'
outsider write --key aes-gcm:1 $context plain sealed
attacker newer sealed altered
both_refuse '--key aes-gcm' $context altered

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
# The outsider unwraps what Keyward rewraps.
"$keyward" key create other --algorithm aes-kw >/dev/null
"$keyward" rewrap --key other --any-context sealed-by-outsider >/dev/null
outsider read --key other $context sealed-by-outsider opened
same opened
rm -f opened
context='--context tenant=acme'

what='rotation and rewrapping of an outsider'\''s files'
outsider write --key aes-gcm:1 $context plain sealed-by-outsider
outsider write --key aes-gcm:1 $context --compact plain compact-by-outsider
# Salt, commitment, one byte, tag.
body=$(tail -c 73 compact-by-outsider | od -An -v -tx1)
"$keyward" key rotate aes-gcm >/dev/null
for file in sealed-by-outsider compact-by-outsider; do
    "$keyward" rewrap --key aes-gcm $context "$file" >/dev/null
    shows "$file" 'generation 2, entries 2:1'
    outsider read --key aes-gcm $context "$file" opened
    same opened
done
[ "$(tail -c 73 compact-by-outsider | od -An -v -tx1)" = "$body" ] || die 'the body of the compact file changed'
"$keyward" key disable aes-gcm:1 >/dev/null
for file in sealed-by-outsider compact-by-outsider; do
    outsider read --key aes-gcm $context "$file" opened
    same opened
done
