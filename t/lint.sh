#!/bin/sh

# Looks for mistakes without running anything: two compilers' warnings and
# analyzers, clang-tidy and cppcheck over src/, shellcheck over the scripts.
# Any finding fails.

set -eu

case " $* " in
    *' --help '*) sed -n '3,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)

cd "$root"
export LC_ALL=C

if [ "${1:-}" != --file ]; then
    sh conf/install.sh clang clang-tidy clang-tools cppcheck shellcheck
    sh conf/build.sh
fi

# nginx' own headers are not checked

nginx=/usr/share/nginx/src/src
folders=$(find src -type d | sed 's/^/-I /')
headers="$folders -isystem $nginx/core -isystem $nginx/event -isystem $nginx/os/unix
    -isystem $nginx/event/modules -isystem $nginx/event/quic
    -isystem $nginx/http -isystem $nginx/http/v3
    -isystem $nginx/http/modules -isystem $nginx/http/v2 -isystem build/module"

# nginx' type of a handler has arguments that not all need. A length is the
# difference of two pointers all over nginx, hence no -Wsign-conversion; and
# only gcc says which conversions are to a flag of one bit.

warnings="-Wall -Wextra -Wshadow -Wundef -Wno-unused-parameter"
conversion="-Wconversion -Wno-sign-conversion"

# This one takes the last element of a queue for the same one after it was
# removed; gcc's analyzer looks for the same mistakes.

disabled="-Xclang -analyzer-disable-checker -Xclang unix.Malloc"

log=build/lint.log

# one after another, so that all is seen before it fails

check() {
    echo "$*" | cut -d ' ' -f 1-2
    "$@" >>"$log" 2>&1 || echo "failed: $1" >>"$log"
}

# the checks of one file, which run beside those of others

if [ "${1:-}" = --file ]; then
    file=$2
    log=build/lint/$(echo "$file" | tr / _)

    # shellcheck disable=SC2086
    {
        check gcc -O2 -c -o /dev/null $headers $warnings $conversion \
            -fanalyzer "$file"
        check clang -O2 -c -o /dev/null $headers $warnings "$file"
        check clang --analyze $disabled -Xclang -analyzer-output=text \
            -o /dev/null $headers "$file"
        check clang-tidy --quiet --checks=-clang-analyzer-unix.Malloc "$file" \
            -- $headers
    }

    exit
fi

rm -rf build/lint
mkdir build/lint

printf '%s\n' src/*.c src/*/*.c \
    | xargs -n 1 -P "$(nproc)" sh t/lint.sh --file | sort | uniq -c

cat build/lint/* >"$log"

# newer ones say of each long function that they do not follow all branches

check cppcheck --quiet --enable=warning,performance,portability \
    --suppress=normalCheckLevelMaxBranches --error-exitcode=1 --inline-suppr src

find . -path ./build -prune -o -name '*.sh' -print >build/scripts
check xargs shellcheck -S warning .ci/run <build/scripts

check perl t/includes.pl build/module/addon/*/*.o

# t/CHECKLIST.md names tests that exist

sed -n 's/^  - `\(.*\.t\)`: \(.*\)/\1 \2/p' t/CHECKLIST.md |
while read -r file title; do
    sed 's/^=== TEST [0-9]*: //' "t/$file" | grep -Fqx -e "$title" \
        || echo "t/CHECKLIST.md: no block \"$title\" in t/$file" >>"$log"
done

# clang-tidy counts what it suppresses in others' headers, and gcc minds flags
# of one bit, and the length of nginx' variables, too. nginx leaves its names of
# features that are off undefined.

sed -e '/^[0-9]* warnings\{0,1\} generated\.$/d' \
    -e "/: In function '.*':\$/d" \
    -e "/ to 'unsigned char:1' may change value /,+2d" \
    -e "/ to 'unsigned int:28' may change value /,+2d" \
    -e "/NGX_[A-Z0-9_]*['\"] is not defined, evaluates to 0 /,+2d" "$log" >"$log.found"

if [ -s "$log.found" ]; then
    cat "$log.found" >&2
    exit 1
fi
