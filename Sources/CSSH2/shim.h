#ifndef CSSH2_SHIM_H
#define CSSH2_SHIM_H

#include <libssh2.h>
#include <stdlib.h>

// Swift's Glibc module leaves these two out; the event loop needs them.
#include <sys/epoll.h>
#include <sys/eventfd.h>

// Swift cannot turn a function pointer into the `void *` that libssh2_session_callback_set wants, and 1.11.1 renamed it.
typedef ssize_t (*cssh2_recv_function)(int socket, void *buffer, size_t length, int flags, void **abstract);
typedef ssize_t (*cssh2_send_function)(int socket, const void *buffer, size_t length, int flags, void **abstract);

static inline void cssh2_set_socket_functions(LIBSSH2_SESSION *session, cssh2_recv_function receive,
                                              cssh2_send_function send) {
#if LIBSSH2_VERSION_NUM >= 0x010b01
  libssh2_session_callback_set2(session, LIBSSH2_CALLBACK_RECV, (libssh2_cb_generic *)receive);
  libssh2_session_callback_set2(session, LIBSSH2_CALLBACK_SEND, (libssh2_cb_generic *)send);
#else
  libssh2_session_callback_set(session, LIBSSH2_CALLBACK_RECV, (void *)receive);
  libssh2_session_callback_set(session, LIBSSH2_CALLBACK_SEND, (void *)send);
#endif
}

#endif
