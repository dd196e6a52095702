/* openapi.h - docs/openapi.yaml, built into the program. */
#pragma once

#include <stddef.h>

extern const char openapi_text[];
extern const size_t openapi_text_bytes;
