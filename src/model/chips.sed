# One line of CSV to one line of a C string. (A file, because Meson turns backslashes into slashes.)
s/[\\"]/\\&/g
s/.*/"&\\n"/
