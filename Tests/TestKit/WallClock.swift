internal import Foundation
internal import Glibc

/// The wall clock of one program alone, which a test sets while the program runs. Monotonic clocks go on as they are, as
/// they do when the machine's clock is set.
///
/// A small library that is loaded before all others answers for the time of day: the machine's, and as much as stands in a
/// file that the test writes. Waits until a time of day end when that clock shows it. (libfaketime moves timers of
/// monotonic clocks, too, so that a service under it stands still when it is set back.)
package final class WallClock: Sendable {
  private let folder: TemporaryDirectory
  private let descriptor: Int32

  /// For the program that is started.
  package var environment: [String: String] {
    ["LD_PRELOAD": folder.file("clock.so"), "SYSCRAP_TEST_CLOCK": folder.file("offset")]
  }

  /// A compiler for C: Swift's toolchain has one.
  private static let compiler: String? = {
    let path = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return ["clang", "cc", "gcc"].lazy.flatMap { name in path.map { "\($0)/\(name)" } }.first { access($0, X_OK) == 0 }
  }()

  /// Whether tests that need it should run: it can be made, or this is CI, where that is a failure.
  package static var isExpected: Bool {
    compiler != nil || ProcessInfo.processInfo.environment["CI"] == "true"
  }
  package static let absence = "no compiler for C in PATH: clang, cc or gcc"

  /// Shows the machine's time until it is set.
  package init() async throws {
    guard let compiler = Self.compiler else { throw ManagedProcessError(Self.absence) }
    folder = try TemporaryDirectory("clock")
    let source = try folder.write("clock.c", Self.source)
    try folder.write("offset", String(repeating: "\0", count: 8))
    _ = try await ManagedProcess.run(
      [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", folder.file("clock.so"), source, "-ldl"],
      within: .seconds(60))
    descriptor = open(folder.file("offset"), O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw ManagedProcessError("no file for a clock: errno \(errno)") }
  }

  deinit { close(descriptor) }

  /// So far ahead of the machine's clock it is from now on.
  package func set(ahead: Duration) throws {
    let (seconds, attoseconds) = ahead.components
    var nanoseconds = seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    guard pwrite(descriptor, &nanoseconds, 8, 0) == 8 else {
      throw ManagedProcessError("the clock cannot be set: errno \(errno)")
    }
  }

  private static let source = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <pthread.h>
    #include <semaphore.h>
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <sys/syscall.h>
    #include <sys/time.h>
    #include <time.h>
    #include <unistd.h>

    #define SECOND 1000000000LL
    /* A wait looks so often whether the clock was set. */
    #define SLICE (SECOND / 20)

    static long long none;
    static volatile long long *offset = &none;

    __attribute__((constructor)) static void begin(void) {
      const char *path = getenv("SYSCRAP_TEST_CLOCK");
      int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
      if (file < 0) return;
      void *page = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
      close(file);
      if (page != MAP_FAILED) offset = page;
    }

    static struct timespec at(long long t) {
      return (struct timespec){.tv_sec = t / SECOND, .tv_nsec = t % SECOND};
    }

    static long long machine(clockid_t clock) {
      struct timespec t = {0, 0};
      syscall(SYS_clock_gettime, clock, &t);
      return t.tv_sec * SECOND + t.tv_nsec;
    }

    int clock_gettime(clockid_t clock, struct timespec *t) {
      if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return syscall(SYS_clock_gettime, clock, t);
      *t = at(machine(clock) + *offset);
      return 0;
    }

    int gettimeofday(struct timeval *restrict t, void *restrict zone) {
      long long now = machine(CLOCK_REALTIME) + *offset;
      t->tv_sec = now / SECOND;
      t->tv_usec = now % SECOND / 1000;
      return 0;
    }

    time_t time(time_t *t) {
      time_t now = (machine(CLOCK_REALTIME) + *offset) / SECOND;
      if (t) *t = now;
      return now;
    }

    int timespec_get(struct timespec *t, int base) {
      return clock_gettime(CLOCK_REALTIME, t) == 0 ? base : 0;
    }

    typedef int (*cond_wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    typedef int (*sem_wait_until)(sem_t *, const struct timespec *);

    static void *next(const char *name, const char *version) {
      void *found = dlvsym(RTLD_NEXT, name, version);
      return found ? found : dlsym(RTLD_NEXT, name);
    }

    /* The end of the next slice by the machine's clock; 0: the time has come. */
    static long long slice(const struct timespec *until) {
      long long left = until->tv_sec * SECOND + until->tv_nsec - *offset - machine(CLOCK_REALTIME);
      if (left <= 0) return 0;
      return machine(CLOCK_REALTIME) + (left < SLICE ? left : SLICE);
    }

    /* Smaller numbers are times of a monotonic clock. */
    static int is_time_of_day(const struct timespec *t) { return t->tv_sec > 1000000000; }

    int pthread_cond_timedwait(
        pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
      static cond_wait wait;
      if (!wait) wait = (cond_wait)next("pthread_cond_timedwait", "GLIBC_2.3.2");
      if (!is_time_of_day(until)) return wait(condition, mutex, until);
      for (;;) {
        long long end = slice(until);
        struct timespec part = at(end);
        int code = wait(condition, mutex, &part);
        if (code != ETIMEDOUT || end == 0) return code;
      }
    }

    int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
      static sem_wait_until wait;
      if (!wait) wait = (sem_wait_until)next("sem_timedwait", "GLIBC_2.34");
      for (;;) {
        long long end = slice(until);
        struct timespec part = at(end);
        int code = wait(semaphore, &part);
        if (code == 0 || errno != ETIMEDOUT || end == 0) return code;
      }
    }

    """
}
