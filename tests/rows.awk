# Which test proves which row. A row is claimed by a test, in its doc comment (`/// F150, XC2: …`) or in the title of
# a case (`"F150 a wrong password"`), or by a comment in a bench. If the first file is docs/rows.txt (one id a line),
# the rows in it that nothing claims are listed too, and there must be none.

function claim(id, name) {
    if (!((id, name) in seen)) {
        seen[id, name] = 1
        if (id in proofs) proofs[id] = proofs[id] ", " name
        else proofs[id] = name
    }
}

# Calls claim() or pends every id in a text; letters or digits on either side make it some other word.
function scan(text, name,    before, id) {
    while (match(text, /[FBNC][0-9][0-9]+|X[A-M][0-9]+/)) {
        before = RSTART > 1 ? substr(text, RSTART - 1, 1) : " "
        id = substr(text, RSTART, RLENGTH)
        text = substr(text, RSTART + RLENGTH)
        if (before !~ /[A-Za-z0-9_-]/ && text !~ /^[A-Za-z0-9_]/) {
            if (name == "") pending[id] = 1
            else claim(id, name)
        }
    }
}

FNR == 1 {
    split("", pending)
    is_test = 0
    test = ""
}

FILENAME == "docs/rows.txt" {
    if ($1 !~ /^#/ && NF) wanted[$1] = 1
    next
}

FILENAME ~ /^bench\// {
    if ($0 ~ /^[ \t]*(#|--|\/\/)/) scan($0, FILENAME)
    next
}

FILENAME !~ /\.rs$/ { next }

/^[ \t]*\/\/\/ / { scan($0, ""); next }
/^[ \t]*#\[test\]/ { is_test = 1; next }
/^[ \t]*(pub |pub\(crate\) )?fn / {
    name = $0
    sub(/^.*fn /, "", name)
    sub(/[^A-Za-z0-9_].*$/, "", name)
    test = is_test ? FILENAME "::" name : ""
    if (is_test) for (id in pending) claim(id, test)
    split("", pending)
    is_test = 0
    next
}
# What was said about something else than a function.
/^[ \t]*$|[;}]$/ { split("", pending) }
# A title is a string that begins with the ids.
test != "" && match($0, /"[FBNCX][A-M]?[0-9]+[^"]*"/) { scan(substr($0, RSTART, RLENGTH), test) }

END {
    sorter = "LC_ALL=C sort"
    for (id in proofs) print id ": " proofs[id] | sorter
    close(sorter)
    for (id in wanted) if (!(id in proofs)) { missing++; list = list " " id }
    if (missing) {
        count = split(list, ids, " ")
        print "\nnothing proves:"
        for (i = 1; i <= count; i++) print ids[i] | sorter
        close(sorter)
        exit 1
    }
}
