/* version.c - which libmicrohttpd answers at run time. Thread: any. */
#include <microhttpd.h>

#include "http/http.h"

const char *http_library_version(void)
{
    return MHD_get_version();
}
