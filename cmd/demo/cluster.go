package main

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"strings"
	"testing/fstest"
	"time"

	"golang.org/x/term"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// askForCluster offers the cluster of KUBECONFIG. It is used only when a person
// says so: the demo makes and deletes a namespace there.
func askForCluster(out *teller) string {
	file := os.Getenv("KUBECONFIG")
	if file == "" || !term.IsTerminal(int(os.Stdin.Fd())) {
		return ""
	}
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		out.step("KUBECONFIG=%s cannot be used (%v); starting a control plane of the demo's own", file, err)
		return ""
	}
	context, ok := config.Contexts[config.CurrentContext]
	if !ok {
		return ""
	}
	server := ""
	if cluster, ok := config.Clusters[context.Cluster]; ok {
		server = cluster.Server
	}
	fmt.Printf("KUBECONFIG points at %s (%s).\nMay the demo make a namespace shop-pr-1 there, and delete it in the end? [y/N] ", config.CurrentContext, server)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") {
		out.step("no: starting a control plane of the demo's own")
		return ""
	}
	return file
}

// shopFiles are the files of the demo's repository, the chart among them.
func shopFiles(chart fs.FS) (fstest.MapFS, error) {
	files := fstest.MapFS{
		"README.md": {Data: []byte("# Shop\n\nSells things.\n")},
		"main.go":   {Data: []byte("package main\n\nfunc main() { println(\"open\") }\n")},
	}
	err := fs.WalkDir(chart, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(chart, name)
		files[path.Join("deploy/chart", name)] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	})
	return files, err
}

// withCoupons are the files with the pull request's change.
func withCoupons(files fstest.MapFS) fs.FS {
	changed := maps.Clone(files)
	changed["coupons.go"] = &fstest.MapFile{Data: []byte("package main\n\n// discount is what a coupon takes off, in cents.\nfunc discount(coupon string) int {\n\tif coupon == \"TWO-EURO\" {\n\t\treturn 200\n\t}\n\treturn 0\n}\n")}
	return changed
}

func (d *demo) namespace() string { return fmt.Sprintf("shop-pr-%d", d.pull) }

func (d *demo) client() (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", d.kubeconfig)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// showCluster shows that the pods are really there.
func (d *demo) showCluster(ctx context.Context) error {
	client, err := d.client()
	if err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods(d.namespace()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	d.out.title("The cluster has:")
	for _, pod := range pods.Items {
		ready := 0
		for _, status := range pod.Status.ContainerStatuses {
			if status.Ready {
				ready++
			}
		}
		d.out.block(fmt.Sprintf("pod  %-40s %d/%d  %s", pod.Name, ready, len(pod.Spec.Containers), pod.Status.Phase))
	}
	ingresses, err := client.NetworkingV1().Ingresses(d.namespace()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, ingress := range ingresses.Items {
		for _, rule := range ingress.Spec.Rules {
			note := "   (the demo's nodes run no containers, so nothing answers there)"
			if d.cluster == nil {
				note = "   (the name is made up; a real one needs DNS)"
			}
			d.out.block("url  http://" + rule.Host + d.out.paint("2", note))
		}
	}
	return nil
}

// expectPods makes the demo fail when other than so many pods run.
func (d *demo) expectPods(ctx context.Context, want int) error {
	client, err := d.client()
	if err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods(d.namespace()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if len(pods.Items) != want {
		return fmt.Errorf("%d pods run, want %d", len(pods.Items), want)
	}
	d.out.step("%d pods run now", want)
	return nil
}

// showGone waits until the namespace is away.
func (d *demo) showGone(ctx context.Context) error {
	client, err := d.client()
	if err != nil {
		return err
	}
	err = d.await(ctx, "the namespace to be gone", func() (bool, error) {
		_, err := client.CoreV1().Namespaces().Get(ctx, d.namespace(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
	if err == nil {
		d.out.step("the namespace %s is gone from the cluster", d.namespace())
	}
	return err
}

// leaveCluster takes the namespace out of a cluster of the user's when the demo
// ended before its environment was cleaned up.
func (d *demo) leaveCluster() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := d.client()
	if err == nil {
		err = client.CoreV1().Namespaces().Delete(ctx, d.namespace(), metav1.DeleteOptions{})
	}
	switch {
	case err == nil:
		d.out.step("the namespace %s is being deleted", d.namespace())
	case !apierrors.IsNotFound(err):
		d.out.step("the namespace %s may still be there: %v", d.namespace(), err)
	}
}
