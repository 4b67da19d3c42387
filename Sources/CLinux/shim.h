#pragma once
// System calls that glibc gives no wrapper for (openat2, getdents64 in older versions, pipe2 without _GNU_SOURCE) or only a variadic one (openat, fcntl, ioctl, prctl),
// which Swift cannot call; a function whose name a struct has too (flock); and macros that Swift cannot import. Nothing else.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static inline int sheaf_openat(int dir, const char *path, int flags, unsigned mode) {
  return openat(dir, path, flags, mode);
}
static inline int sheaf_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
  return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}
static inline int sheaf_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
  return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}
static inline long sheaf_getdents64(int dir, void *buffer, size_t size) {
  return syscall(SYS_getdents64, dir, buffer, size);
}
// Swift marks fork as unavailable: here it is for a process of one thread.
static inline int sheaf_fork(void) { return fork(); }
static inline int sheaf_flock(int fd, int operation) { return flock(fd, operation); }
// Bytes that a pipe holds; 0 where that is not known.
static inline int sheaf_readable(int fd) {
  int count = 0;
  return ioctl(fd, FIONREAD, &count) == 0 ? count : 0;
}
static inline int sheaf_pipe(int ends[2]) { return (int)syscall(SYS_pipe2, ends, O_CLOEXEC); }
static inline int sheaf_syncfs(int fd) { return (int)syscall(SYS_syncfs, fd); }
// Whether the kernel tells mounts apart (5.8 and later) is in `has_id`.
static inline int sheaf_mount(int dir, const char *name, int *has_id, uint64_t *id, uint64_t *device) {
  struct statx s;
  long code = syscall(SYS_statx, dir, name, AT_SYMLINK_NOFOLLOW | 0x1000 | 0x800, STATX_MNT_ID, &s);
  if (code != 0) return -1;
  *has_id = (s.stx_mask & STATX_MNT_ID) != 0;
  *id = s.stx_mnt_id;
  *device = makedev(s.stx_dev_major, s.stx_dev_minor);
  return 0;
}
static inline uint64_t sheaf_makedev(unsigned major_, unsigned minor_) { return makedev(major_, minor_); }
static inline unsigned sheaf_major(uint64_t dev) { return major(dev); }
static inline unsigned sheaf_minor(uint64_t dev) { return minor(dev); }
// All 0 where it is not known.
static inline struct winsize sheaf_terminal_size(int fd) {
  struct winsize size = {0};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size : (struct winsize){0};
}
// One descriptor that is sent over a Unix socket (cmsg(3) is made of macros); -1: none came, and errno says why, 0 being
// the end of the connection.
static inline int sheaf_receive_descriptor(int socket) {
  char byte;
  struct iovec part = {.iov_base = &byte, .iov_len = 1};
  union {
    struct cmsghdr align;
    char room[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr message = {
    .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
  ssize_t count;
  do count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (count < 0 && errno == EINTR);
  if (count < 0) return -1;
  struct cmsghdr *first = count == 0 ? 0 : CMSG_FIRSTHDR(&message);
  if (!first || first->cmsg_level != SOL_SOCKET || first->cmsg_type != SCM_RIGHTS
      || first->cmsg_len != CMSG_LEN(sizeof(int))) {
    errno = 0;
    return -1;
  }
  int descriptor;
  __builtin_memcpy(&descriptor, CMSG_DATA(first), sizeof descriptor);
  return descriptor;
}
static inline int sheaf_socket_pair(int ends[2]) { return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends); }
// MS_* and MNT_* are enumerators and macros at once.
static inline int sheaf_mount_read_only(const char *source, const char *target, const char *type, const char *data) {
  return mount(source, target, type, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME, data);
}
static inline int sheaf_detach_mount(const char *target) { return umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW); }
static inline int sheaf_forbid_dumps(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }
enum {
  SHEAF_AT_EMPTY_PATH = 0x1000,
  SHEAF_O_PATH = __O_PATH,
  SHEAF_O_NOATIME = __O_NOATIME,
  SHEAF_O_TMPFILE = __O_TMPFILE,
  SHEAF_RENAME_NOREPLACE = 1,
};
