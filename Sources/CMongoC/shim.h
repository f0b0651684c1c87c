#ifndef SYSCRAP_CMONGOC_SHIM_H
#define SYSCRAP_CMONGOC_SHIM_H

#include <mongoc/mongoc.h>

#endif
