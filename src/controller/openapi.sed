# docs/openapi.yaml as a C string, one line a line.
s/\\/\\\\/g
s/"/\\"/g
s/^/"/
s/$/\\n"/
1i #include "controller/openapi.h"
1i const char openapi_text[] =
$a ;
$a const size_t openapi_text_bytes = sizeof(openapi_text) - 1;
