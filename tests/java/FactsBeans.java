import com.sun.management.HotSpotDiagnosticMXBean;
import com.sun.management.VMOption;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ClassLoadingMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryUsage;
import java.lang.management.ThreadInfo;
import java.lang.management.ThreadMXBean;
import java.lang.reflect.Method;
import java.util.List;

/**
 * What the MXBeans of this JVM say, as lines of JSON. It allocates little: what an answer allocates is in the next one.
 */
final class FactsBeans {
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static final Thread.State[] STATES = Thread.State.values();

    private final com.sun.management.ThreadMXBean accounts = (com.sun.management.ThreadMXBean) THREADS;
    private final ClassLoadingMXBean classes = ManagementFactory.getClassLoadingMXBean();
    private final List<MemoryPoolMXBean> pools = ManagementFactory.getMemoryPoolMXBeans();
    private final List<BufferPoolMXBean> buffers = ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class);
    private final Method allocated = find("getTotalThreadAllocatedBytes");
    private final StringBuilder json = new StringBuilder(32768);
    private final byte[] bytes = new byte[65536];
    private final Thread[] living = new Thread[8192];

    /** The method, from JDK 21 on. That of JDK 8 (8u504) counts the bytes of one thread for all. */
    private static Method find(String name) {
        try {
            boolean isRight = Double.parseDouble(System.getProperty("java.specification.version")) >= 21;
            return isRight ? com.sun.management.ThreadMXBean.class.getMethod(name) : null;
        } catch (NoSuchMethodException e) {
            return null;
        }
    }

    /** Writes a line of ASCII. */
    void line(CharSequence text) {
        int length = text.length();
        for (int i = 0; i < length; i++) {
            bytes[i] = (byte) text.charAt(i);
        }
        bytes[length] = '\n';
        System.out.write(bytes, 0, length + 1);
        System.out.flush();
    }

    /** Pools and allocated bytes, or all that there is. */
    void beans(boolean all, int loaders) throws Exception {
        json.setLength(0);
        json.append("{\"pools\":[");
        for (int i = 0; i < pools.size(); i++) {
            MemoryPoolMXBean pool = pools.get(i);
            json.append(i > 0 ? "," : "").append("{\"name\":\"").append(pool.getName());
            json.append("\",\"type\":\"").append(pool.getType().name()).append("\",\"usage\":");
            usage(pool.getUsage());
            json.append('}');
        }
        json.append("],\"heap\":");
        usage(ManagementFactory.getMemoryMXBean().getHeapMemoryUsage());
        json.append(",\"nonheap\":");
        usage(ManagementFactory.getMemoryMXBean().getNonHeapMemoryUsage());
        json.append(",\"allocated\":").append(allocated());
        if (all) {
            json.append(",\"loaders\":").append(loaders);
            json.append(",\"compilation_ms\":");
            json.append(ManagementFactory.getCompilationMXBean().getTotalCompilationTime());
            json.append(",\"classes\":").append(classes.getLoadedClassCount());
            buffers();
            threads();
        }
        line(json.append('}'));
    }

    private void usage(MemoryUsage usage) {
        json.append("{\"used\":").append(usage.getUsed());
        json.append(",\"committed\":").append(usage.getCommitted());
        json.append(",\"max\":").append(usage.getMax());
        json.append(",\"init\":").append(usage.getInit()).append('}');
    }

    private void buffers() {
        json.append(",\"buffers\":[");
        for (int i = 0; i < buffers.size(); i++) {
            BufferPoolMXBean pool = buffers.get(i);
            json.append(i > 0 ? "," : "").append("{\"name\":\"").append(pool.getName());
            json.append("\",\"count\":").append(pool.getCount());
            json.append(",\"used\":").append(pool.getMemoryUsed());
            json.append(",\"capacity\":").append(pool.getTotalCapacity()).append('}');
        }
        json.append(']');
    }

    /** By all threads that there ever were; up to JDK 20, by those that live. */
    private long allocated() throws Exception {
        if (allocated != null) {
            return (Long) allocated.invoke(accounts);
        }
        long sum = 0;
        for (long bytes : accounts.getThreadAllocatedBytes(THREADS.getAllThreadIds())) {
            sum += Math.max(0, bytes);
        }
        return sum;
    }

    /** Threads in a deadlock of monitors. */
    int deadlocked() {
        long[] found = THREADS.findMonitorDeadlockedThreads();
        return found == null ? 0 : found.length;
    }

    private void threads() {
        json.append(",\"threads\":{\"live\":").append(THREADS.getThreadCount());
        json.append(",\"daemon\":").append(THREADS.getDaemonThreadCount());
        json.append(",\"peak\":").append(THREADS.getPeakThreadCount());
        json.append(",\"started\":").append(THREADS.getTotalStartedThreadCount());
        json.append(",\"deadlocked\":").append(deadlocked());
        int[] states = new int[STATES.length];
        for (ThreadInfo info : THREADS.getThreadInfo(THREADS.getAllThreadIds())) {
            if (info != null) {
                states[info.getThreadState().ordinal()]++;
            }
        }
        states("states", states);
        int[] daemons = new int[STATES.length];
        int[] others = new int[STATES.length];
        count(daemons, others);
        states("daemons", daemons);
        states("others", others);
        json.append('}');
    }

    /** ThreadInfo has no daemon flag on JDK 8, and Thread does not call the carrier of a virtual thread WAITING. */
    private void count(int[] daemons, int[] others) {
        ThreadGroup root = Thread.currentThread().getThreadGroup();
        while (root.getParent() != null) {
            root = root.getParent();
        }
        long[] ids = new long[root.enumerate(living, true)];
        for (int i = 0; i < ids.length; i++) {
            ids[i] = living[i].getId();
        }
        ThreadInfo[] infos = THREADS.getThreadInfo(ids);
        for (int i = 0; i < ids.length; i++) {
            if (infos[i] != null) {
                (living[i].isDaemon() ? daemons : others)[infos[i].getThreadState().ordinal()]++;
            }
            living[i] = null;
        }
    }

    private void states(String name, int[] counts) {
        json.append(",\"").append(name).append("\":{");
        String separator = "\"";
        for (int i = 0; i < counts.length; i++) {
            json.append(separator).append(STATES[i].name().toLowerCase()).append("\":").append(counts[i]);
            separator = ",\"";
        }
        json.append('}');
    }

    /** Value and origin of the flags behind the first word, without those that this JDK does not have. */
    void flags(String[] names) {
        HotSpotDiagnosticMXBean options = ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
        json.setLength(0);
        json.append('{');
        for (int i = 1; i < names.length; i++) {
            VMOption option;
            try {
                option = options.getVMOption(names[i]);
            } catch (IllegalArgumentException e) {
                continue;
            }
            json.append(json.length() > 1 ? "," : "").append('"').append(names[i]).append("\":[\"");
            json.append(option.getValue()).append("\",\"").append(option.getOrigin().name()).append("\"]");
        }
        line(json.append('}'));
    }
}
