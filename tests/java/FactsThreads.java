import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadInfo;
import java.lang.management.ThreadMXBean;
import java.lang.reflect.Method;
import java.nio.channels.Pipe;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;

/** Threads that go into a state and stay there. */
public final class FactsThreads {
    /** Virtual threads that are mounted for ever. Classes of other loaders count, too. */
    public static final AtomicInteger mounted = new AtomicInteger();

    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static final long FOR_EVER = 1000000000L;

    private final Object gate = new Object();
    /** What must not be collected. */
    private final List<Object> kept = new ArrayList<Object>();
    private InputStream empty;

    /** Its initialisation, which has a native frame below it, never ends: a virtual thread in it keeps its carrier. */
    public static final class Pin implements Runnable {
        static {
            FactsThreads.mounted.incrementAndGet();
            FactsThreads.parkForEver();
        }

        @Override
        public void run() {}
    }

    /** A stream that has no bytes and no end: reads of it wait in the kernel, and the JVM knows of no wait. */
    private InputStream empty() throws IOException {
        if (empty == null) {
            Set<String> before = pipes();
            kept.add(Pipe.open());
            Set<String> opened = pipes();
            opened.removeAll(before);
            empty = new FileInputStream(opened.iterator().next());
        }
        return empty;
    }

    /** The descriptors of this process that are pipes. */
    private static Set<String> pipes() {
        Set<String> pipes = new HashSet<String>();
        for (String name : new File("/proc/self/fd").list()) {
            Path path = Paths.get("/proc/self/fd", name);
            try {
                if (Files.readSymbolicLink(path).toString().startsWith("pipe:")) {
                    pipes.add(path.toString());
                }
            } catch (IOException e) {
                // Another thread has closed it meanwhile.
            }
        }
        return pipes;
    }

    /** Parks the thread. */
    public static void parkForEver() {
        while (true) {
            LockSupport.park();
        }
    }

    /** So many threads in each of five states. */
    void states(int each) throws Exception {
        final InputStream stream = empty();
        final CountDownLatch held = new CountDownLatch(1);
        // One of those that park holds the monitor which others want.
        plant(1, 0, Thread.State.WAITING, new Runnable() {
            @Override
            public void run() {
                synchronized (gate) {
                    held.countDown();
                    parkForEver();
                }
            }
        });
        held.await();
        plant(each - 1, 1, Thread.State.WAITING, new Runnable() {
            @Override
            public void run() {
                parkForEver();
            }
        });
        plant(each, 0, Thread.State.RUNNABLE, new Runnable() {
            @Override
            public void run() {
                try {
                    stream.read();
                } catch (IOException e) {
                    throw new IllegalStateException(e);
                }
            }
        });
        plant(each, 0, Thread.State.BLOCKED, new Runnable() {
            @Override
            public void run() {
                synchronized (gate) {
                    throw new IllegalStateException("nobody leaves it");
                }
            }
        });
        plant(each, 0, Thread.State.WAITING, new Waiter(0));
        plant(each, 0, Thread.State.TIMED_WAITING, new Runnable() {
            @Override
            public void run() {
                try {
                    Thread.sleep(FOR_EVER);
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            }
        });
    }

    /** So many threads in each of two waits with a time, apart from sleeping. */
    void timed(int each) throws Exception {
        plant(each, 0, Thread.State.TIMED_WAITING, new Waiter(FOR_EVER));
        plant(each, 0, Thread.State.TIMED_WAITING, new Runnable() {
            @Override
            public void run() {
                while (true) {
                    LockSupport.parkNanos(FOR_EVER * 1000000L);
                }
            }
        });
    }

    /** Waits for nothing, 0 milliseconds being for ever. */
    private static final class Waiter implements Runnable {
        private final long milliseconds;

        Waiter(long milliseconds) {
            this.milliseconds = milliseconds;
        }

        @Override
        public void run() {
            Object own = new Object();
            try {
                synchronized (own) {
                    own.wait(milliseconds);
                }
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    /** Starts threads, every other one a daemon, and waits until they are in that state. */
    private void plant(int count, int parity, Thread.State state, Runnable body) throws Exception {
        for (int i = 0; i < count; i++) {
            Thread thread = new Thread(body, "planted");
            thread.setDaemon((i + parity) % 2 == 0);
            thread.start();
            settle(thread, state);
        }
    }

    private static void settle(Thread thread, Thread.State state) throws Exception {
        while (true) {
            ThreadInfo info = THREADS.getThreadInfo(thread.getId());
            boolean isThere = info != null && info.getThreadState() == state;
            if (isThere && (state != Thread.State.RUNNABLE || info.isInNative())) {
                return;
            }
            Thread.sleep(1);
        }
    }

    /** Two threads that wait for each other. */
    void deadlock() throws Exception {
        final Object[] monitors = {new Object(), new Object()};
        final CountDownLatch held = new CountDownLatch(2);
        for (int i = 0; i < 2; i++) {
            final int own = i;
            Thread thread = new Thread("deadlocked") {
                @Override
                public void run() {
                    synchronized (monitors[own]) {
                        held.countDown();
                        try {
                            held.await();
                        } catch (InterruptedException e) {
                            throw new IllegalStateException(e);
                        }
                        synchronized (monitors[1 - own]) {
                            throw new IllegalStateException("no deadlock");
                        }
                    }
                }
            };
            thread.setDaemon(true);
            thread.start();
        }
        while (THREADS.findMonitorDeadlockedThreads() == null) {
            Thread.sleep(1);
        }
    }

    /** Virtual threads that are mounted in a read, mounted in a park, and parked without a carrier. */
    void virtual(int reading, int pinned, int parked) throws Exception {
        final InputStream stream = empty();
        Method start = Thread.class.getMethod("startVirtualThread", Runnable.class);
        int before = mounted.get();
        for (int i = 0; i < reading; i++) {
            kept.add(start.invoke(null, new Runnable() {
                @Override
                public void run() {
                    mounted.incrementAndGet();
                    try {
                        stream.read();
                    } catch (IOException e) {
                        throw new IllegalStateException(e);
                    }
                }
            }));
        }
        for (int i = 0; i < pinned; i++) {
            final Facts.Loader loader = new Facts.Loader(Facts.bytes(Pin.class));
            kept.add(start.invoke(null, new Runnable() {
                @Override
                public void run() {
                    try {
                        loader.make();
                    } catch (Exception e) {
                        throw new IllegalStateException(e);
                    }
                }
            }));
        }
        while (mounted.get() < before + reading + pinned) {
            Thread.sleep(1);
        }
        for (int i = 0; i < parked; i++) {
            kept.add(start.invoke(null, new Runnable() {
                @Override
                public void run() {
                    parkForEver();
                }
            }));
        }
    }
}
