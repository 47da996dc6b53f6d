import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.locks.LockSupport;

/**
 * A Java program with facts that are known beforehand, and that says what its MXBeans make of them. Each argument is a
 * command that it obeys before it says "ready"; later ones come as lines on standard input, and each has one line as
 * its answer.
 *
 * <pre>
 * threads N         N threads in each of five states, half of them daemons: in a read (RUNNABLE), before a monitor
 *                   (BLOCKED), in Object.wait (WAITING), in LockSupport.park (WAITING), in Thread.sleep (TIMED_WAITING)
 * timed N           N threads in Object.wait with a time, and N in LockSupport.parkNanos (TIMED_WAITING)
 * deadlock          two daemon threads that wait for each other's monitor (BLOCKED)
 * virtual N P Q     virtual threads, of JDK 21: N mounted in a read, P mounted in a park, Q parked without a carrier
 * direct N BYTES    direct buffers
 * mapped N BYTES    mapped buffers
 * loaders N         class loaders with a class each
 * humongous N BYTES arrays
 * keep MB           data
 * release           drops what the five above hold
 * allocate MB       garbage
 * gc                System.gc()
 * garbage MB        makes garbage, that much each second, until "quiet"
 * code              loads, compiles and drops classes, until "quiet"
 * churn N           N threads that start and join threads, until "quiet"
 * quiet             ends what goes on in the background, and waits for that
 * memory            answers with pools and allocated bytes, as JSON
 * beans             answers with all that the beans say, as JSON
 * flags NAME...     answers with value and origin of these flags, as JSON
 * exit CODE         ends the program
 * </pre>
 *
 * An answer allocates little: what it makes is in what it tells. The end of standard input ends the program.
 */
public final class Facts {
    private static final int MEGABYTE = 1 << 20;

    /** Loaded by many class loaders. Its code is compiled if it is called often enough. */
    public static final class Leaf implements Callable<Integer> {
        @Override
        public Integer call() {
            int sum = 0;
            for (int i = 0; i < 20000; i++) {
                sum = mix(sum, i);
            }
            return sum;
        }

        private static int mix(int one, int other) {
            return (one * 31) ^ (other + (one >>> 3));
        }
    }

    static final class Loader extends ClassLoader {
        private final Class<?> type;

        Loader(byte[] bytes) {
            type = defineClass(null, bytes, 0, bytes.length);
        }

        Object make() throws Exception {
            return type.getDeclaredConstructor().newInstance();
        }
    }

    /** A piece of work that ends soon after {@link #isOver} is set. */
    private abstract class Work implements Runnable {
        @Override
        public void run() {
            try {
                while (!isOver) {
                    step();
                }
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }

        abstract void step() throws Exception;
    }

    private final List<Object> kept = new ArrayList<Object>();
    private final List<Thread> workers = new ArrayList<Thread>();
    private final FactsBeans beans = new FactsBeans();
    private final FactsThreads threads = new FactsThreads();
    private volatile boolean isOver;
    private volatile Object sink;
    private int loaders;

    public static void main(String[] args) {
        try {
            serve(args);
            System.exit(0);
        } catch (Throwable e) {
            // The threads that are no daemons would keep the JVM, and its test would wait for an answer.
            e.printStackTrace();
            System.exit(1);
        }
    }

    private static void serve(String[] args) throws Exception {
        Facts facts = new Facts();
        for (String command : args) {
            String answer = facts.obey(command.split(" "));
            if (!"done".equals(answer)) {
                throw new IllegalArgumentException(command + ": " + answer);
            }
        }
        facts.beans.line("ready");
        byte[] line = new byte[4096];
        for (int length = read(line); length >= 0; length = read(line)) {
            String answer = facts.obey(new String(line, 0, length, "US-ASCII").split(" "));
            if (answer != null) {
                facts.beans.line(answer);
            }
        }
    }

    /** Reads a line into the array, and gives its length, or -1 at the end. */
    private static int read(byte[] line) throws IOException {
        int length = 0;
        for (int next = System.in.read(); next != '\n'; next = System.in.read()) {
            if (next < 0) {
                return -1;
            }
            line[length++] = (byte) next;
        }
        return length;
    }

    /** The answer, or null if it was given already. */
    private String obey(String[] words) throws Exception {
        String command = words[0];
        if (command.equals("memory") || command.equals("beans")) {
            beans.beans(command.equals("beans"), loaders);
            return null;
        } else if (command.equals("flags")) {
            beans.flags(words);
            return null;
        } else if (command.equals("threads")) {
            threads.states(number(words, 1));
        } else if (command.equals("timed")) {
            threads.timed(number(words, 1));
        } else if (command.equals("deadlock")) {
            threads.deadlock();
        } else if (command.equals("virtual")) {
            threads.virtual(number(words, 1), number(words, 2), number(words, 3));
        } else if (!plantMemory(words) && !work(words)) {
            return "unknown command " + command;
        }
        return "done";
    }

    private static int number(String[] words, int index) {
        return Integer.parseInt(words[index]);
    }

    private boolean plantMemory(String[] words) throws Exception {
        String command = words[0];
        if (command.equals("direct")) {
            for (int i = 0; i < number(words, 1); i++) {
                kept.add(ByteBuffer.allocateDirect(number(words, 2)));
            }
        } else if (command.equals("mapped")) {
            map(number(words, 1), number(words, 2));
        } else if (command.equals("loaders")) {
            byte[] bytes = bytes(Leaf.class);
            for (int i = 0; i < number(words, 1); i++) {
                kept.add(new Loader(bytes));
                loaders++;
            }
        } else if (command.equals("humongous")) {
            for (int i = 0; i < number(words, 1); i++) {
                kept.add(new byte[number(words, 2)]);
            }
        } else if (command.equals("keep")) {
            for (int i = 0; i < number(words, 1) * 64; i++) {
                kept.add(new byte[MEGABYTE / 64]);
            }
        } else if (command.equals("release")) {
            kept.clear();
            loaders = 0;
        } else {
            return false;
        }
        return true;
    }

    private boolean work(String[] words) throws Exception {
        String command = words[0];
        if (command.equals("allocate")) {
            allocate(number(words, 1) * 64);
        } else if (command.equals("gc")) {
            System.gc();
        } else if (command.equals("garbage")) {
            garbage(number(words, 1));
        } else if (command.equals("code")) {
            code();
        } else if (command.equals("churn")) {
            for (int i = 0; i < number(words, 1); i++) {
                churn();
            }
        } else if (command.equals("quiet")) {
            isOver = true;
            for (Thread worker : workers) {
                worker.join();
            }
            workers.clear();
            sink = null;
        } else if (command.equals("exit")) {
            System.exit(number(words, 1));
        } else {
            return false;
        }
        return true;
    }

    /** Makes garbage of so many sixty-fourths of a megabyte. */
    private void allocate(int blocks) {
        for (int i = 0; i < blocks; i++) {
            sink = new byte[MEGABYTE / 64 - 16];
        }
    }

    private void work(String name, Work work) {
        isOver = false;
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
        workers.add(thread);
    }

    private void garbage(final int megabytes) {
        work("garbage", new Work() {
            private final long start = System.nanoTime();
            private long made;

            @Override
            void step() {
                long due = (System.nanoTime() - start) / 1000 * megabytes * 64 / 1000000;
                allocate((int) (due - made));
                made = due;
                LockSupport.parkNanos(5000000L);
            }
        });
    }

    private void code() throws IOException {
        final byte[] bytes = bytes(Leaf.class);
        work("code", new Work() {
            @Override
            void step() throws Exception {
                Callable<?> leaf = (Callable<?>) new Loader(bytes).make();
                leaf.call();
                leaf.call();
                Thread.sleep(20);
            }
        });
    }

    private void churn() {
        final Runnable nothing = new Runnable() {
            @Override
            public void run() {}
        };
        work("churn", new Work() {
            @Override
            void step() throws Exception {
                Thread thread = new Thread(nothing);
                thread.start();
                thread.join();
            }
        });
    }

    private void map(int count, int size) throws IOException {
        File file = File.createTempFile("facts", null);
        RandomAccessFile access = new RandomAccessFile(file, "rw");
        access.setLength(size);
        for (int i = 0; i < count; i++) {
            kept.add(access.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, size));
        }
        access.close();
        file.delete();
    }

    static byte[] bytes(Class<?> type) throws IOException {
        InputStream input = Facts.class.getResourceAsStream(type.getName() + ".class");
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (int next = input.read(); next >= 0; next = input.read()) {
            bytes.write(next);
        }
        input.close();
        return bytes.toByteArray();
    }
}
