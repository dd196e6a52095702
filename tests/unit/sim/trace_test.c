/* The readers of traces, on short excerpts in the layout of the published files. */
#include "sim_bed.h"

#include "sim/draw.h"

#include <errno.h>
#include <stdlib.h>

#define SWF_LINE "1 0 -1 100 4 -1 -1 4 200 -1 1 1 1 1 1 1 -1 -1\n"
#define HELIOS_HEAD                                                                                \
    "job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,"      \
    "queue\n"
#define POD_HEAD                                                                                   \
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,"            \
    "deletion_time,scheduled_time\n"

struct good {
    const char *format, *text;
    uint32_t jobs, bad, skipped;
    struct sim_job second; /* after sorting by submit */
};

static const struct good goods[] = {
    { "swf",
      "; UnixStartTime: 0\n" SWF_LINE "2 10.5 -1 50 8 -1 -1 -1 -1 2048 0 2 1 1 1 1 -1 -1\n"
      "3 11 -1 -1 8 -1 -1 8 60 -1 5 2 1 1 1 1 -1 -1\n4 x\n5 12 -1 3 4\n",
      2,
      2,
      1,
      { .submit_ms = 10500,
        .run_ms = 50000,
        .tasks = 8,
        .cpus = 1,
        .memory_bytes = 2 << 20,
        .outcome = SIM_FAILED } },
    { "helios",
      HELIOS_HEAD "1,uX,vcA,1,1,1,COMPLETED,2020-06-09 18:41:01,2020-06-09 18:41:01,"
                  "2020-06-10 04:55:09,36848,0\n"
                  "2,uV,vcB,4,16,1,FAILED,2020-06-09 18:41:27,x,x,249,0\n"
                  "3,uV,vcB,0,16,2,COMPLETED,2020-06-09 18:42:27,x,x,9,0\n"
                  "4,uV,vcB,four,16,1,FAILED,2020-06-09 18:41:27,x,x,249,0\n",
      3,
      1,
      0,
      { .submit_ms = 26000,
        .run_ms = 249000,
        .gpus = 4,
        .cpus_per_device = 4,
        .cpus = 1,
        .outcome = SIM_FAILED } },
    { "acme",
      "job_id,user,node_num,gpu_num,cpu_num,type,state,submit_time,start_time,end_time,duration,"
      "queue,gpu_time\n"
      "5778432,u5907,1,8,128,Other,FAILED,2023-03-01 00:18:22+08:00,a,b,117,32,936.0\n"
      "5778469,u5907,1,8,128,Other,COMPLETED,2023-02-28 16:23:58+00:00,a,b,2693,13,21544.0\n"
      "5778470,u5907,1,8,128,Other,COMPLETED,2023-02-28,a,b,2693,13,21544.0\n",
      2,
      1,
      0,
      { .submit_ms = 336000, .run_ms = 2693000, .gpus = 8, .cpus_per_device = 16, .cpus = 1 } },
    { "pai",
      "job1,worker,2.0,Terminated,100.0,400.0,600.0,29.296875,50.0,T4\n"
      "job2,ps,1.0,Failed,160.0,260.0,,,,\n"
      "job3,tf,1.0,Running,200.0,,600.0,29.2,100.0,V100\n"
      "job4,tf,1.0,Terminated,200.0\n",
      2,
      1,
      1,
      { .submit_ms = 60000, .run_ms = 100000, .tasks = 1, .cpus = 1, .outcome = SIM_FAILED } },
    { "openb",
      POD_HEAD "p0,12000,16384,1,1000,,LS,Running,0,500,10\n"
               "p1,6500,12288,1,460,T4|P100,BE,Running,20,120,\n"
               "p2,6000,12288,2,500,,LS,Running,30,90,30\n",
      2,
      1,
      0,
      { .submit_ms = 20000,
        .run_ms = 100000,
        .tasks = 1,
        .cpus = 7,
        .devices_milli = 460,
        .memory_bytes = 12288LL << 20,
        .job_class = CLASS_LOW } },
    { "philly",
      "[{\"status\":\"Pass\",\"vc\":\"a\",\"jobid\":\"1\",\"user\":\"u\","
      "\"submitted_time\":\"2017-10-09 07:00:00\",\"attempts\":[{\"start_time\":"
      "\"2017-10-09 07:01:00\",\"end_time\":\"2017-10-09 07:02:00\",\"detail\":[{\"ip\":\"m1\","
      "\"gpus\":[\"gpu0\"]}]}]},\n"
      "{\"status\":\"Killed\",\"vc\":\"a\",\"jobid\":\"2\",\"user\":\"u\","
      "\"submitted_time\":\"2017-10-09 07:00:30\",\"attempts\":[{\"start_time\":"
      "\"2017-10-09 07:01:00\",\"end_time\":\"2017-10-09 07:02:00\",\"detail\":[{\"ip\":\"m1\","
      "\"gpus\":[\"gpu0\",\"gpu1\"]},{\"ip\":\"m2\",\"gpus\":[\"gpu0\",\"gpu1\"]}]},"
      "{\"start_time\":\"2017-10-09 07:05:00\",\"end_time\":\"2017-10-09 07:05:30\","
      "\"detail\":[]}]},\n"
      "{\"status\":\"Pass\",\"vc\":\"a\",\"jobid\":\"3\",\"user\":\"u\","
      "\"submitted_time\":\"2017-10-09 07:00:30\",\"attempts\":[]},\n{\"vc\":3}\n]\n",
      2,
      1,
      1,
      { .submit_ms = 30000, .run_ms = 90000, .gpus = 4, .cpus = 1, .outcome = SIM_CANCELLED } },
    { "philly-jobs",
      "job_id,submit_s,duration_s,gpus,placement\n0,5,10,1,1\n1,7,20,16,8+8\n",
      2,
      0,
      0,
      { .submit_ms = 2000, .run_ms = 20000, .gpus = 16, .cpus = 1 } },
    { "venus-jobs",
      "job_id,submit_s,duration_s,gpus,clamped\n0,5,10,1,1\n1,7,20,16,0\n2,9,,1,0\n",
      2,
      0,
      1,
      { .submit_ms = 2000, .run_ms = 20000, .gpus = 16, .cpus = 1 } },
    { "venus-vc",
      "job_id,user,vc,submit_s,duration_s,gpus,nodes,status\n1,u,v,5,10,1,1,COMPLETED\n"
      "2,\"u,2\",v,6,10,8,1,CANCELED\n",
      2,
      0,
      0,
      { .submit_ms = 1000, .run_ms = 10000, .gpus = 8, .cpus = 1, .outcome = SIM_CANCELLED } },
    { "jobs",
      "submit_s,run_s,limit_s,tasks,cpus,devices,class\n0,10,20,2,4,1,high\n1.5,10,,1,2,0.25,low\n",
      2,
      0,
      0,
      { .submit_ms = 1500,
        .run_ms = 10000,
        .tasks = 1,
        .cpus = 2,
        .devices_milli = 250,
        .job_class = CLASS_LOW } },
};

static int read_text(const char *format, const char *text, bool strict, struct sim_load **load,
                     struct err *err)
{
    struct sim_trace_how how = { .format = format, .strict = strict };
    struct sim_lines *lines;
    int rc = sim_lines_of_memory("t", text, strlen(text), &lines, err);

    if (rc == 0)
        rc = sim_trace_read(lines, &how, load, err);
    sim_lines_close(lines);
    return rc;
}

static void jobs_are_as_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(goods); i++) {
        const struct good *good = &goods[i];
        struct sim_load *load = NULL;
        struct err err = { 0 };
        struct sim_job *job;

        if (read_text(good->format, good->text, false, &load, &err) < 0)
            fail_msg("%s: %s", good->format, err.text);
        if (load->jobs_count < good->jobs || load->lines_bad != good->bad ||
            load->lines_skipped != good->skipped)
            fail_msg("%s: %u jobs, %d bad, %d skipped", good->format, load->jobs_count,
                     (int)load->lines_bad, (int)load->lines_skipped);
        job = &load->jobs[1];
        print_message("# %s\n", good->format);
        assert_int_equal(load->jobs[0].submit_ms, 0);
        assert_int_equal(job->submit_ms, good->second.submit_ms);
        assert_int_equal(job->run_ms, good->second.run_ms);
        assert_int_equal(job->tasks, good->second.tasks);
        assert_int_equal(job->gpus, good->second.gpus);
        assert_int_equal(job->cpus, good->second.cpus);
        assert_int_equal(job->cpus_per_device, good->second.cpus_per_device);
        assert_int_equal(job->devices_milli, good->second.devices_milli);
        assert_int_equal(job->memory_bytes, good->second.memory_bytes);
        assert_int_equal(job->outcome, good->second.outcome);
        if (good->second.job_class != CLASS_LOW)
            assert_int_equal(job->job_class, CLASS_NORMAL);
        sim_load_destroy(load);
        /* With --strict the first bad line ends it, and is named. */
        if (good->bad) {
            assert_true(read_text(good->format, good->text, true, &load, &err) < 0);
            assert_non_null(strstr(err.text, "t:"));
        }
    }
}

struct refusal {
    const char *format, *text, *message;
};
static const struct refusal refusals[] = {
    { "swf", "", "there is no job in it" },
    { "swf", "1 2 3\n", "no job in it, 1 lines cannot be read as swf" },
    { "helios", "", "t: is empty" },
    { "helios", "job_id,user\n", "t:1: no column \"submit_time\", which helios needs" },
    { "openb", "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n", "no column \"creation_time\"" },
    { "philly", "{}", "t:1: expected a JSON list" },
    { "philly", "[{\"a\":", "t:1: " },
    { "philly", "[\n{},\n{nope}]", "t:3: " },
    { "pai", "a,b\n", "1 lines cannot be read as pai" },
    { "excel", "a", "no trace format \"excel\": there are swf, philly" },
    { "jobs", "submit_s,run_s,gpus,gpus\n0,1,1,8\n", "t:1: the column \"gpus\" is there twice" },
    { "jobs", "submit_s,run_s\n0,1\n3999999999,1\n", "over 20 years apart" },
};

static void bad_traces_get_one_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        struct sim_load *load = NULL;
        struct err err = { 0 };

        assert_true(read_text(refusals[i].format, refusals[i].text, false, &load, &err) < 0);
        assert_null(load);
        if (!strstr(err.text, refusals[i].message))
            fail_msg("trace %zu: \"%s\" does not say \"%s\"", i, err.text, refusals[i].message);
    }
}

/* To be drawn from, a list needs no times: every line is a job, in the file's order. */
static void lists_need_no_times(void **state)
{
    static const char text[] = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n"
                               "p0,500,16,0,0\np1,6500,12,1,460\np2,1000,12,8,1000\n";
    struct sim_trace_how how = { .format = "openb", .timeless = true };
    struct sim_load *load = NULL;
    struct sim_lines *lines;
    struct err err = { 0 };

    (void)state;
    assert_int_equal(sim_lines_of_memory("t", text, strlen(text), &lines, &err), 0);
    assert_int_equal(sim_trace_read(lines, &how, &load, &err), 0);
    sim_lines_close(lines);
    assert_int_equal(load->jobs_count, 3);
    assert_int_equal(load->lines_skipped, 0);
    assert_int_equal(load->jobs[0].devices_milli, 0);
    assert_int_equal(load->jobs[1].devices_milli, 460);
    assert_int_equal(load->jobs[2].devices_milli, 8000);
    sim_load_destroy(load);
}

static void draws_come_to_the_ceiling(void **state)
{
    static const uint64_t milli[] = { 500, 1000, 0, 300, 8000 }, none[] = { 0, 0 };
    uint32_t *drawn, count, seen[5] = { 0 };
    uint64_t sum = 0;

    (void)state;
    assert_int_equal(sim_draw(none, 2, 1000, 1, &drawn, &count), -EINVAL);
    assert_int_equal(sim_draw(milli, 0, 1000, 1, &drawn, &count), -EINVAL);
    assert_int_equal(sim_draw(milli, 4, UINT64_C(1) << 40, 1, &drawn, &count), -E2BIG);
    assert_int_equal(sim_draw(milli, 5, 100000, 7, &drawn, &count), 0);
    for (uint32_t i = 0; i < count; i++) {
        sum += milli[drawn[i]];
        seen[drawn[i]] += i < 5;
    }
    assert_true(sum <= 100000 && sum > 100000 - 8000);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(seen[i], 1); /* all of them first */
    free(drawn);
}

static void gangs_fit_the_nodes(void **state)
{
    static const struct {
        uint32_t gpus, node, tasks, milli;
    } cases[] = { { 1, 8, 1, 1000 },   { 8, 8, 1, 8000 }, { 16, 8, 2, 8000 },
                  { 12, 8, 12, 1000 }, { 8, 4, 2, 4000 }, { 3, 2, 3, 1000 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct sim_job job = sim_job_init();
        struct request_shape shape = { 0 };

        job.tasks = 0;
        job.gpus = cases[i].gpus;
        sim_job_shape(&job, cases[i].node, &shape);
        assert_int_equal(shape.tasks, cases[i].tasks);
        assert_int_equal(shape.devices_milli, cases[i].milli);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_traces_get_one_line), cmocka_unit_test(jobs_are_as_published),
        cmocka_unit_test(lists_need_no_times),     cmocka_unit_test(draws_come_to_the_ceiling),
        cmocka_unit_test(gangs_fit_the_nodes),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
