#pragma once
// libcurl is loaded while the program runs, by those alone who have a store at s3://, so none of its headers is needed.
// Its two functions with variable arguments cannot be called from Swift: here they are, by their addresses.
typedef int (*sheaf_curl_variadic)(void *, int, ...);

static inline int sheaf_curl_set_long(void *function, void *handle, int option, long value) {
  return ((sheaf_curl_variadic)function)(handle, option, value);
}
static inline int sheaf_curl_set_pointer(void *function, void *handle, int option, const void *value) {
  return ((sheaf_curl_variadic)function)(handle, option, value);
}
static inline int sheaf_curl_set_offset(void *function, void *handle, int option, long long value) {
  return ((sheaf_curl_variadic)function)(handle, option, value);
}
static inline int sheaf_curl_get_long(void *function, void *handle, int info, long *value) {
  return ((sheaf_curl_variadic)function)(handle, info, value);
}
