#ifndef SYSCRAP_CCURL_SHIM_H
#define SYSCRAP_CCURL_SHIM_H

// The type checks are macros around the variadic functions; the functions below have types of their own.
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

// Reason for all ccurl_set_*: curl_easy_setopt is variadic, which Swift cannot call. One function for each type that an
// option takes.

static inline CURLcode ccurl_set_long(CURL *easy, CURLoption option, long value) {
  return curl_easy_setopt(easy, option, value);
}

static inline CURLcode ccurl_set_offset(CURL *easy, CURLoption option, curl_off_t value) {
  return curl_easy_setopt(easy, option, value);
}

static inline CURLcode ccurl_set_string(CURL *easy, CURLoption option, const char *value) {
  return curl_easy_setopt(easy, option, value);
}

static inline CURLcode ccurl_set_pointer(CURL *easy, CURLoption option, void *value) {
  return curl_easy_setopt(easy, option, value);
}

static inline CURLcode ccurl_set_list(CURL *easy, CURLoption option, struct curl_slist *value) {
  return curl_easy_setopt(easy, option, value);
}

// For WRITEFUNCTION, HEADERFUNCTION and READFUNCTION, which share one signature.
static inline CURLcode ccurl_set_data_callback(CURL *easy, CURLoption option, curl_write_callback value) {
  return curl_easy_setopt(easy, option, value);
}

static inline CURLcode ccurl_set_progress_callback(CURL *easy, curl_xferinfo_callback value) {
  return curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, value);
}

static inline CURLcode ccurl_set_open_socket_callback(CURL *easy, curl_opensocket_callback value) {
  return curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, value);
}

static inline CURLcode ccurl_set_close_socket_callback(CURL *easy, curl_closesocket_callback value) {
  return curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, value);
}

// Reason for ccurl_get_*: curl_easy_getinfo is variadic. Both answer 0 where libcurl does not know.

static inline long ccurl_get_long(CURL *easy, CURLINFO what) {
  long value = 0;
  return curl_easy_getinfo(easy, what, &value) == CURLE_OK ? value : 0;
}

static inline curl_off_t ccurl_get_offset(CURL *easy, CURLINFO what) {
  curl_off_t value = 0;
  return curl_easy_getinfo(easy, what, &value) == CURLE_OK ? value : 0;
}

// Reason: the result stands in a union.
static inline CURLcode ccurl_message_result(const CURLMsg *message) {
  return message->data.result;
}

// Reason: the macros are casts, which are not imported.
static inline curl_socket_t ccurl_bad_socket(void) {
  return CURL_SOCKET_BAD;
}

static inline long ccurl_global_everything(void) {
  return CURL_GLOBAL_ALL;
}

#endif
