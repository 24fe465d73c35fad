// Calls that change files, counted under one directory: the n-th kills the process, or fails; or all are written down.
// Preloaded by tests/faults.py, which arms it. Linux only.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

static char root[PATH_MAX];
static long made, at;
static int armed, fault, log_fd = -1;  // fault: 0 for none, -1 for SIGKILL, or an errno
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

void faults_arm(const char *directory, long number, int what, const char *log) {
    snprintf(root, sizeof root, "%s", directory);
    made = 0, at = number, fault = what;
    if (log) log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    armed = 1;
}

long faults_made(void) { return made; }

static int inside(const char *path) { return armed && !strncmp(path, root, strlen(root)); }

static int path_of(int directory, const char *name, char *out) {
    char link[64];
    ssize_t length = 0;
    if (name && (name[0] == '/' || directory == AT_FDCWD)) {
        snprintf(out, PATH_MAX, "%s", name);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        length = readlink(link, out, PATH_MAX - 1);
        if (length < 0) return 0;
        out[length] = 0;
        if (name) snprintf(out + length, PATH_MAX - length, "/%s", name);
    }
    return inside(out);
}

// Count a call; return 1 where it has to fail. A full disk stays full, for what takes space.
static int hit(int takes_space) {
    long number = __sync_fetch_and_add(&made, 1);
    if (fault == -1 && number == at) kill(getpid(), SIGKILL);
    int fails = fault == ENOSPC ? takes_space && number >= at : fault > 0 && number == at;
    if (fails) errno = fault;
    return fails;
}

static void note(const void *data, size_t size, const char *form, ...) {
    char line[3 * PATH_MAX];
    if (log_fd < 0) return;
    int kept = errno;
    va_list rest;
    va_start(rest, form);
    int length = vsnprintf(line, sizeof line, form, rest);
    va_end(rest);
    pthread_mutex_lock(&lock);
    syscall(SYS_write, log_fd, line, length);
    if (size) syscall(SYS_write, log_fd, data, size);
    pthread_mutex_unlock(&lock);
    errno = kept;
}

static unsigned long inode(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

static int opened(int directory, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    struct stat found;
    int there = 1, counts = (flags & (O_CREAT | O_TRUNC)) && path_of(directory, name, path);
    if (counts) {
        there = !stat(path, &found);
        counts = !there || (flags & O_TRUNC);
        if (counts && hit(1)) return -1;
    }
    int fd = syscall(SYS_openat, directory, name, flags, mode);
    if (counts && fd >= 0) note(0, 0, there ? "T %lu 0\n" : "C %lu %s\n", inode(fd), path);
    return fd;
}

#define OPEN(symbol, head, directory)                        \
    int symbol head {                                        \
        va_list rest;                                        \
        va_start(rest, flags);                               \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                        \
        return opened(directory, name, flags, mode);         \
    }
OPEN(open, (const char *name, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *name, int flags, ...), AT_FDCWD)
OPEN(openat, (int directory, const char *name, int flags, ...), directory)
OPEN(openat64, (int directory, const char *name, int flags, ...), directory)

static int counts(int fd, char *path) { return armed && path_of(fd, 0, path); }

ssize_t write(int fd, const void *data, size_t size) {
    char path[PATH_MAX];
    if (!counts(fd, path)) return syscall(SYS_write, fd, data, size);
    if (hit(1)) return -1;
    long offset = lseek(fd, 0, SEEK_CUR);
    ssize_t done = syscall(SYS_write, fd, data, size);
    if (done > 0) note(data, done, "W %lu %ld %zd\n", inode(fd), offset, done);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    char path[PATH_MAX];
    if (!counts(fd, path)) return syscall(SYS_pwrite64, fd, data, size, offset);
    if (hit(1)) return -1;
    ssize_t done = syscall(SYS_pwrite64, fd, data, size, offset);
    if (done > 0) note(data, done, "W %lu %ld %zd\n", inode(fd), (long)offset, done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

static ssize_t gathered(int fd, const struct iovec *pieces, int count, off64_t offset, int positioned) {
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = positioned ? pwrite64(fd, pieces[i].iov_base, pieces[i].iov_len, offset + total)
                                  : write(fd, pieces[i].iov_base, pieces[i].iov_len);
        if (done < 0) return total ? total : done;
        total += done;
    }
    return total;
}

ssize_t writev(int fd, const struct iovec *pieces, int count) { return gathered(fd, pieces, count, 0, 0); }
ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset) { return gathered(fd, pieces, count, offset, 1); }
ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t offset) { return gathered(fd, pieces, count, offset, 1); }

int ftruncate64(int fd, off64_t size) {
    char path[PATH_MAX];
    int own = counts(fd, path);
    if (own && hit(1)) return -1;
    int done = syscall(SYS_ftruncate, fd, size);
    if (own && !done) note(0, 0, "T %lu %ld\n", inode(fd), (long)size);
    return done;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int synced(int fd, int number) {
    char path[PATH_MAX];
    int own = counts(fd, path);
    if (own && hit(0)) return -1;
    int done = syscall(number, fd);
    if (own && !done) note(0, 0, "S %lu %s\n", inode(fd), path);
    return done;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

#define TWO(symbol, head, from_at, to_at, space, letter, call)    \
    int symbol head {                                             \
        char source[PATH_MAX], target[PATH_MAX];                  \
        int own = path_of(from_at, from, source) | path_of(to_at, to, target); \
        if (own && hit(space)) return -1;                         \
        int done = call;                                          \
        if (own && !done) note(0, 0, letter " %s\t%s\n", source, target); \
        return done;                                              \
    }
TWO(rename, (const char *from, const char *to), AT_FDCWD, AT_FDCWD, 1, "R", syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0))
TWO(renameat, (int a, const char *from, int b, const char *to), a, b, 1, "R", syscall(SYS_renameat2, a, from, b, to, 0))
TWO(renameat2, (int a, const char *from, int b, const char *to, unsigned flags), a, b, 1, "R", syscall(SYS_renameat2, a, from, b, to, flags))
TWO(link, (const char *from, const char *to), AT_FDCWD, AT_FDCWD, 1, "L", syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0))
TWO(linkat, (int a, const char *from, int b, const char *to, int flags), a, b, 1, "L", syscall(SYS_linkat, a, from, b, to, flags))

#define ONE(symbol, head, directory, space, letter, call) \
    int symbol head {                                     \
        char path[PATH_MAX];                              \
        int own = path_of(directory, name, path);         \
        if (own && hit(space)) return -1;                 \
        int done = call;                                  \
        if (own && !done) note(0, 0, letter " %s\n", path); \
        return done;                                      \
    }
ONE(unlink, (const char *name), AT_FDCWD, 0, "U", syscall(SYS_unlinkat, AT_FDCWD, name, 0))
ONE(unlinkat, (int at_, const char *name, int flags), at_, 0, "U", syscall(SYS_unlinkat, at_, name, flags))
ONE(rmdir, (const char *name), AT_FDCWD, 0, "U", syscall(SYS_unlinkat, AT_FDCWD, name, AT_REMOVEDIR))
ONE(mkdir, (const char *name, mode_t mode), AT_FDCWD, 1, "M", syscall(SYS_mkdirat, AT_FDCWD, name, mode))
ONE(mkdirat, (int at_, const char *name, mode_t mode), at_, 1, "M", syscall(SYS_mkdirat, at_, name, mode))
