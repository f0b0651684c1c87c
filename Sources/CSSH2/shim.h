#ifndef CSSH2_SHIM_H
#define CSSH2_SHIM_H

#include <libssh2.h>
#include <stdlib.h>

// Swift's Glibc module leaves these out; the event loop needs them.
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

// What is needed to start the system's ssh and to hand descriptors to it.
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

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

// Swift's Glibc module is built without the GNU extensions, which this is one of (glibc 2.34).
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);

static inline int cssh2_close_from(posix_spawn_file_actions_t *actions, int from) {
  return posix_spawn_file_actions_addclosefrom_np(actions, from);
}

// syscall() is variadic, which Swift cannot call. Descriptors of processes are close-on-exec from the start.
static inline int cssh2_open_process(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0); }

// Control messages are built with macros, which Swift cannot call. Sends one byte and one descriptor.
static inline ssize_t cssh2_send_descriptor(int socket, int descriptor) {
  char byte = 0;
  struct iovec vector = {&byte, 1};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  memset(&control, 0, sizeof control);
  struct msghdr message = {0};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  return sendmsg(socket, &message, MSG_NOSIGNAL);
}

#endif
