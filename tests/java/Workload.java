import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.lang.management.ClassLoadingMXBean;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryUsage;
import java.lang.management.RuntimeMXBean;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/**
 * A Java program that does what it is told, one command a line on standard input, and answers each with one line: so a
 * test can let it work, hold it
 * still, look at it from outside and ask it what it says of itself.
 *
 * <pre>
 * allocate MB           makes that much garbage
 * keep MB               makes that much data and holds on to it
 * classes N             loads N classes and holds on to them
 * forget                drops what keep and classes hold
 * threads DAEMON OTHER  starts threads that wait for ever
 * gc                    System.gc()
 * run MB                makes that much garbage every second until "rest"
 * rest                  ends "run"
 * beans                 answers with the java.lang.management values, as JSON
 * exit CODE             ends the program
 * </pre>
 *
 * The end of standard input ends the program too, so it cannot outlive its test.
 */
public final class Workload {
    private static final int MEGABYTE = 1 << 20;

    /** Loaded once by each of many class loaders. */
    public static final class Leaf {
        int value = 1;
    }

    private static final class LeafLoader extends ClassLoader {
        Class<?> define(byte[] bytes) {
            return defineClass(Leaf.class.getName(), bytes, 0, bytes.length);
        }
    }

    private final List<Object> kept = new ArrayList<Object>();
    private volatile int rate;
    private volatile Object sink;

    public static void main(String[] args) throws Exception {
        Workload workload = new Workload();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, "US-ASCII"));
        answer("ready");
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            answer(workload.obey(line.split(" ")));
        }
        System.exit(0);
    }

    private static void answer(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private String obey(String[] words) throws Exception {
        String command = words[0];
        if (command.equals("allocate")) {
            allocate(number(words, 1));
        } else if (command.equals("keep")) {
            kept.add(new byte[number(words, 1)][MEGABYTE]);
        } else if (command.equals("classes")) {
            loadClasses(number(words, 1));
        } else if (command.equals("forget")) {
            kept.clear();
        } else if (command.equals("threads")) {
            startThreads(number(words, 1), true);
            startThreads(number(words, 2), false);
        } else if (command.equals("gc")) {
            System.gc();
        } else if (command.equals("run")) {
            run(number(words, 1));
        } else if (command.equals("rest")) {
            rate = 0;
        } else if (command.equals("beans")) {
            return beans();
        } else if (command.equals("exit")) {
            System.exit(number(words, 1));
        } else {
            return "unknown command " + command;
        }
        return "done";
    }

    private static int number(String[] words, int index) {
        return Integer.parseInt(words[index]);
    }

    private void allocate(int megabytes) {
        for (int i = 0; i < megabytes * 64; i++) {
            sink = new byte[MEGABYTE / 64];
        }
        sink = null;
    }

    private void run(int megabytes) {
        rate = megabytes;
        Thread thread = new Thread("allocator") {
            @Override
            public void run() {
                while (rate > 0) {
                    allocate(Math.max(1, rate / 10));
                    LockSupport.parkNanos(100000000L);
                }
            }
        };
        thread.setDaemon(true);
        thread.start();
    }

    private void loadClasses(int count) throws IOException {
        InputStream input = Workload.class.getResourceAsStream("Workload$Leaf.class");
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (int next = input.read(); next >= 0; next = input.read()) {
            bytes.write(next);
        }
        input.close();
        for (int i = 0; i < count; i++) {
            kept.add(new LeafLoader().define(bytes.toByteArray()));
        }
    }

    private static void startThreads(int count, boolean daemon) throws InterruptedException {
        for (int i = 0; i < count; i++) {
            Thread thread = new Thread("waiter") {
                @Override
                public void run() {
                    while (true) {
                        LockSupport.park();
                    }
                }
            };
            thread.setDaemon(daemon);
            thread.start();
            while (thread.getState() != Thread.State.WAITING) {
                Thread.sleep(1);
            }
        }
    }

    private static String beans() {
        RuntimeMXBean runtime = ManagementFactory.getRuntimeMXBean();
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        ClassLoadingMXBean classes = ManagementFactory.getClassLoadingMXBean();
        StringBuilder json = new StringBuilder(4096);
        json.append("{\"vm\":{\"name\":").append(quote(runtime.getVmName()));
        json.append(",\"vendor\":").append(quote(runtime.getVmVendor()));
        json.append(",\"version\":").append(quote(runtime.getVmVersion()));
        json.append(",\"java_version\":").append(quote(System.getProperty("java.version")));
        json.append("},\"start_ms\":").append(runtime.getStartTime());
        json.append(",\"uptime_ms\":").append(runtime.getUptime());
        json.append(",\"compilation_ms\":").append(ManagementFactory.getCompilationMXBean().getTotalCompilationTime());
        json.append(",\"threads\":{\"live\":").append(threads.getThreadCount());
        json.append(",\"daemon\":").append(threads.getDaemonThreadCount());
        json.append(",\"peak\":").append(threads.getPeakThreadCount());
        json.append(",\"started\":").append(threads.getTotalStartedThreadCount());
        json.append("},\"classes\":{\"loaded\":").append(classes.getLoadedClassCount());
        json.append(",\"unloaded\":").append(classes.getUnloadedClassCount());
        json.append(",\"total\":").append(classes.getTotalLoadedClassCount());
        json.append("},\"heap\":");
        usage(json, ManagementFactory.getMemoryMXBean().getHeapMemoryUsage());
        json.append(",\"pools\":[");
        String separator = "";
        for (MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans()) {
            json.append(separator).append("{\"name\":").append(quote(pool.getName()));
            json.append(",\"type\":").append(quote(pool.getType().name())).append(",\"usage\":");
            usage(json, pool.getUsage());
            json.append('}');
            separator = ",";
        }
        json.append("],\"collectors\":[");
        separator = "";
        for (GarbageCollectorMXBean collector : ManagementFactory.getGarbageCollectorMXBeans()) {
            json.append(separator).append("{\"name\":").append(quote(collector.getName()));
            json.append(",\"count\":").append(collector.getCollectionCount());
            json.append(",\"time_ms\":").append(collector.getCollectionTime()).append('}');
            separator = ",";
        }
        return json.append("]}").toString();
    }

    private static void usage(StringBuilder json, MemoryUsage usage) {
        json.append("{\"used\":").append(usage.getUsed());
        json.append(",\"committed\":").append(usage.getCommitted());
        json.append(",\"max\":").append(usage.getMax());
        json.append(",\"init\":").append(usage.getInit()).append('}');
    }

    private static String quote(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }
}
